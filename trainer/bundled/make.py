"""The whole making of a bundled model: tokenizer, training with checkpoints, the two folders to serve."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from trainer.bundled.export import write_folders
from trainer.bundled.model import TINY, Shape, build_model, count_parameters
from trainer.bundled.team import Team
from trainer.bundled.tokenizer import train_tokenizer
from trainer.bundled.train import Budget, Progress, Recipe, Run

TOKENIZER_PROBLEMS = 20_000


@dataclass(frozen=True)
class Plan:
    """What to make; `tiny` is a model of seconds, for tests of the plumbing."""

    out: Path
    seed: int
    budget: Budget
    processes: int
    tiny: bool = False
    checkpoint: Path | None = None
    """Stem of the state files, written at every report and resumed from if they exist; `None` keeps none."""


@dataclass(frozen=True)
class Made:
    """What came of it."""

    parameters: int
    tokens: int
    elapsed_s: float
    validation_loss: float


class Maker:
    """Makes one model; iterate over :meth:`train`, then call :meth:`write`."""

    def __init__(self, plan: Plan, team: Team) -> None:
        self.plan = plan
        problems = 400 if plan.tiny else TOKENIZER_PROBLEMS
        recipe = Recipe(batch_tokens=1024, chunk=128, validation_problems=16, reports=2) if plan.tiny else Recipe()
        shape = TINY if plan.tiny else Shape()
        self._tokenizer = train_tokenizer(plan.seed, problems, shape.vocabulary)
        self._model = build_model(shape, plan.seed)
        self._run = Run(self._model, self._tokenizer, recipe=recipe, budget=plan.budget, seed=plan.seed, team=team)
        if plan.checkpoint is not None:
            self._run.load(plan.checkpoint)

    @property
    def parameters(self) -> int:
        """Number of trained values, the tied embedding counted once."""
        return count_parameters(self._model)

    def train(self) -> Iterator[Progress]:
        """Train, yielding after every step, and saving the checkpoint at each evaluation."""
        for progress in self._run.progress():
            if progress.report and self.plan.checkpoint is not None:
                self._run.save(self.plan.checkpoint)
            yield progress

    def write(self) -> Made:
        """Write the folders and tell what was made."""
        write_folders(self._model, self._tokenizer, self.plan.out)
        return Made(self.parameters, self._run.tokens, self._run.earlier_s, self._run.validate())


def follow(plan: Plan, team: Team) -> None:
    """Take part in another process's training; only the leader writes the model."""
    for _ in Maker(plan, team).train():
        pass
