"""What can go wrong in training.

TrainerError
├── BadBase                 a checkpoint or tokenizer that a verifier should start from cannot be used
├── BadBudget               a budget is neither tokens nor minutes
├── BadCheckpoints          checkpoints cannot be kept where they should
├── BadGroups               groups, or what they are made of, cannot be read or made as asked
├── BadName                 a name cannot be a model's
├── BadPlan                 a tuning's plan or recipe asks for what cannot be
├── BadQuestions            a verifier cannot be trained on the questions given
├── BadSetting              a key of `[trainer]`, or an option, cannot be used
├── BadShapes               tensors given to a loss do not belong together
├── DemoFailed              the demonstration of the loop could not be carried out
├── Diverged                a loss or its gradient is no longer a number
├── LayoutUnfit             a model cannot be trained in the layout that was asked for
├── NotEnough               there is too little to train or to evaluate on
├── NothingToLearn          no group is left to train on
├── OtherRun                a checkpoint was written by a run with other settings
├── OutputExists            the output folder is taken
├── RoundFailed             a step of a round could not be carried out; the next start goes on from it
├── RoundRunning            another round works on the same state folder
└── TrainingExtraMissing    torch or transformers is not installed
"""


class TrainerError(Exception):
    """Training could not be carried out."""

    def __str__(self) -> str:
        return super().__str__() or (self.__doc__ or "").strip()


class BadBase(TrainerError):
    """A verifier cannot start from this checkpoint or tokenizer."""


class BadBudget(TrainerError):
    """A budget is either --tokens or --minutes, and more than nothing."""


class BadCheckpoints(TrainerError):
    """Checkpoints cannot be kept there."""


class BadGroups(TrainerError):
    """Groups cannot be read, or made as asked."""


class BadName(TrainerError):
    """The name cannot be a model's."""


class BadPlan(TrainerError):
    """The plan of a tuning, or its recipe, asks for what cannot be."""


class BadShapes(TrainerError):
    """Tensors given to a loss do not belong together."""


class DemoFailed(TrainerError):
    """The demonstration could not be carried out."""


class Diverged(TrainerError):
    """The loss is no longer a number; a lower recipe.rate may help."""


class LayoutUnfit(TrainerError):
    """The model cannot be trained in this layout."""


class NothingToLearn(TrainerError):
    """No group is left to train on."""


class BadQuestions(TrainerError):
    """A verifier cannot be trained on these questions."""


class BadSetting(TrainerError):
    """A setting cannot be used; the message names the key."""


class NotEnough(TrainerError):
    """There is too little to train or to evaluate on."""


class RoundFailed(TrainerError):
    """A step of a round failed; what is done is kept, and the next start goes on from there."""

    def __init__(self, step: str, message: str) -> None:
        super().__init__(f"{step}: {message}")
        self.step = step


class RoundRunning(TrainerError):
    """Another round works on the same state folder."""


class OtherRun(TrainerError):
    """The checkpoints were written by a run with other settings; give the same ones, or another folder."""


class OutputExists(TrainerError):
    """The output folder exists and is not empty; a model is never written over another."""


class TrainingExtraMissing(TrainerError):
    """Training needs torch and transformers: pip install 'touchstone[train]'."""
