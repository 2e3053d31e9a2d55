"""Training: rounds from the feedback log, and the bundled model from a synthetic corpus.

Importing this package imports no torch.
"""

from trainer.errors import (
    BadBase,
    BadBudget,
    BadCheckpoints,
    BadGroups,
    BadName,
    BadPlan,
    BadQuestions,
    BadSetting,
    BadShapes,
    DemoFailed,
    Diverged,
    LayoutUnfit,
    NotEnough,
    NothingToLearn,
    OtherRun,
    OutputExists,
    RoundFailed,
    RoundRunning,
    TrainerError,
    TrainingExtraMissing,
)

__all__ = [
    "BadBase",
    "BadBudget",
    "BadCheckpoints",
    "BadGroups",
    "BadName",
    "BadPlan",
    "BadQuestions",
    "BadSetting",
    "BadShapes",
    "DemoFailed",
    "Diverged",
    "LayoutUnfit",
    "NotEnough",
    "NothingToLearn",
    "OtherRun",
    "OutputExists",
    "RoundFailed",
    "RoundRunning",
    "TrainerError",
    "TrainingExtraMissing",
]
