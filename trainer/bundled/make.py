"""The whole making of a bundled model: tokenizer, training with checkpoints, the two folders to serve."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from trainer.bundled.checkpoint import States
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
    checkpoints: Path | None = None
    """Folder that gets, at every report, a servable model and the state to resume from; `None` keeps none."""


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
        self._leads = team.rank == 0
        self._states: States | None = None
        if plan.checkpoints is not None:
            plan.checkpoints.mkdir(parents=True, exist_ok=True)
            identity = {"seed": plan.seed, "tiny": plan.tiny, **asdict(plan.budget)}
            self._states = States(plan.checkpoints, team, identity)
            state = self._states.load()
            if state is not None:
                self._run.restore(state)

    @property
    def parameters(self) -> int:
        """Number of trained values, the tied embedding counted once."""
        return count_parameters(self._model)

    def train(self) -> Iterator[Progress]:
        """Train, yielding after every step, and keeping a checkpoint at each report."""
        for progress in self._run.progress():
            if progress.report and self._states is not None:
                self._keep(self._states, progress)
            yield progress

    def _keep(self, states: States, progress: Progress) -> None:
        """Write the model, then the state to resume from: whoever resumes finds the model there."""
        served = states.folder / f"step-{progress.step:06}"
        if self._leads and not served.exists():
            write_folders(self._model, self._tokenizer, served)
        states.save(progress.step, self._run.state())

    def write(self) -> Made:
        """Write the folders and tell what was made."""
        write_folders(self._model, self._tokenizer, self.plan.out)
        return Made(self.parameters, self._run.tokens, self._run.earlier_s, self._run.validate())


def follow(plan: Plan, team: Team) -> None:
    """Take part in another process's training; only the leader writes the model."""
    for _ in Maker(plan, team).train():
        pass
