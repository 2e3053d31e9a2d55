"""The whole making of a bundled model: tokenizer, training with checkpoints, the two folders to serve."""

import hashlib
import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from trainer.bundled.checkpoint import States
from trainer.bundled.export import write_model
from trainer.bundled.model import TINY, Shape, build_model, count_parameters
from trainer.bundled.probe import Scores, probe
from trainer.bundled.team import Team
from trainer.bundled.tokenizer import train_tokenizer
from trainer.bundled.train import Budget, Progress, Recipe, Run

TOKENIZER_PROBLEMS = 20_000
PROBE, PROBE_TINY = (40, 8), (2, 2)
"""Problems and samples of each that a checkpoint is measured with."""
CURVE = "curve.jsonl"


@dataclass(frozen=True)
class Plan:
    """What to make; `tiny` is a model of seconds, for tests of the plumbing."""

    out: Path
    seed: int
    budget: Budget
    processes: int
    tiny: bool = False
    checkpoints: Path | None = None
    """Folder that gets, at every report, a servable model, a point of the learning curve and the state to resume from;
    `None` keeps nothing."""


@dataclass(frozen=True)
class Point:
    """One point of the learning curve; `scores` says why where they could not be had."""

    step: int
    tokens: int
    validation_loss: float | None
    scores: Scores | str


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
        self._probing_s = 0.0
        self.curve: list[Point] = []
        self._states: States | None = None
        if plan.checkpoints is not None:
            plan.checkpoints.mkdir(parents=True, exist_ok=True)
            words = hashlib.sha256(self._tokenizer.to_str().encode()).hexdigest()[:16]
            identity = {"seed": plan.seed, **asdict(plan.budget), **asdict(recipe), **asdict(shape), "tokenizer": words}
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
        for progress in self._run.progress(clock=lambda: time.monotonic() - self._probing_s):
            if progress.report and self._states is not None:
                self._keep(self._states, progress)
            yield progress

    def _keep(self, states: States, progress: Progress) -> None:
        """Write the model and what it can do, then the state to resume from: whoever resumes finds both there."""
        served = states.folder / f"step-{progress.step:06}"
        if self._leads and not served.exists():
            self._write(served)
        if self._leads and not self._is_on_curve(states.folder / CURVE, progress.step):
            began = time.monotonic()
            problems, n = PROBE_TINY if self.plan.tiny else PROBE
            point = Point(
                progress.step, progress.tokens, progress.validation_loss, probe(served, problems=problems, n=n)
            )
            self._probing_s += time.monotonic() - began  # a budget in minutes is for training
            self.curve.append(point)
            with (states.folder / CURVE).open("a", encoding="utf-8") as curve:
                curve.write(json.dumps(asdict(point)) + "\n")
        states.save(progress.step, self._run.state())

    def _is_on_curve(self, curve: Path, step: int) -> bool:
        """Whether a run that was killed behind this point has measured it already; half a line does not count."""
        lines = curve.read_text(encoding="utf-8").splitlines() if curve.exists() else []
        return any(line.startswith(f'{{"step": {step},') and line.endswith("}") for line in lines)

    def write(self) -> Made:
        """Write the folders and tell what was made."""
        self._write(self.plan.out)
        return Made(self.parameters, self._run.tokens, self._run.earlier_s, self._run.validate())

    def _write(self, out: Path) -> None:
        plan, run = self.plan, self._run
        spent = f"step {run.step}, {run.tokens} tokens, {run.earlier_s:.0f} s"
        source = (
            f"touchstone train bundled --seed {plan.seed} --threads {plan.processes}{' --tiny' if plan.tiny else ''}"
        )
        write_model(self._model, self._tokenizer, out, source=f"{source}: {spent}")


def follow(plan: Plan, team: Team) -> None:
    """Take part in another process's training; only the leader writes the model."""
    for _ in Maker(plan, team).train():
        pass
