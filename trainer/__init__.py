"""Training: rounds from the feedback log, and the bundled model from a synthetic corpus.

Importing this package imports no torch.
"""

from trainer.errors import (
    BadBudget,
    BadCheckpoints,
    BadName,
    OtherRun,
    OutputExists,
    TrainerError,
    TrainingExtraMissing,
)

__all__ = ["BadBudget", "BadCheckpoints", "BadName", "OtherRun", "OutputExists", "TrainerError", "TrainingExtraMissing"]
