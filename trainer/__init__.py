"""Training: rounds from the feedback log, and the bundled model from a synthetic corpus.

Importing this package imports no torch.
"""

from trainer.errors import (
    BadBase,
    BadBudget,
    BadCheckpoints,
    BadName,
    BadPlan,
    BadQuestions,
    BadShapes,
    Diverged,
    LayoutUnfit,
    NothingToLearn,
    OtherRun,
    OutputExists,
    TrainerError,
    TrainingExtraMissing,
)

__all__ = [
    "BadBase",
    "BadBudget",
    "BadCheckpoints",
    "BadName",
    "BadPlan",
    "BadQuestions",
    "BadShapes",
    "Diverged",
    "LayoutUnfit",
    "NothingToLearn",
    "OtherRun",
    "OutputExists",
    "TrainerError",
    "TrainingExtraMissing",
]
