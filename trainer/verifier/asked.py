"""What `touchstone train verifier` is asked, checked before an hour of training, and the plan that follows from it."""

from __future__ import annotations

import importlib.util
import math
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from engine import InvalidModel, check_id
from trainer.errors import BadBudget, BadName, BadQuestions, OutputExists, TrainingExtraMissing

if TYPE_CHECKING:
    from trainer.verifier.make import Plan

DEFAULT_EPOCHS = 3
TOKENIZER = Path(str(files("engine"))) / "bundled" / "touchstone-3.8m" / "hf"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The command's options; None: not given."""

    data: list[Path]
    out: Path | None
    base: Path | None
    tokenizer: Path | None
    execution: bool
    features: bool
    folds: int | None
    epochs: int | None
    minutes: float | None
    max_tokens: int
    width: int
    layers: int
    contrast: bool | None
    rate: float | None
    light: bool
    threads: int
    seed: int

    def check(self) -> None:
        """Refuse by name an option that another one leaves without a meaning, and what would stop the end of training.

        Raises `BadBudget`, `BadQuestions`, `BadName`, `OutputExists`, `TrainingExtraMissing`.
        """
        if self.epochs is not None and self.minutes is not None:
            raise BadBudget("--epochs and --minutes: give one of them")
        for name, value in (("--minutes", self.minutes), ("--rate", self.rate)):
            if value is not None and not 0 < value < math.inf:
                raise BadBudget(f"{name}: must be more than nothing")
        if self.base is not None and self.tokenizer is not None:
            raise BadQuestions("--tokenizer: a base brings its own")
        if self.contrast is not None and self.execution:
            raise BadQuestions("--contrast: belongs to --no-execution")
        if (self.features or self.folds is not None) and (named := self._about_text()):
            raise BadQuestions(f"{named[0]}: the feature model has no such setting")
        if self.folds is not None and (self.out is not None or self.features):
            raise BadQuestions("--folds: measures the feature model and writes nothing; leave out --out and --features")
        if self.folds is None:
            if self.out is None:
                raise BadQuestions("--out: where should the verifier go?")
            self._check_out(self.out)

    def _about_text(self) -> list[str]:
        given: dict[str, object] = {
            "--base": self.base,
            "--tokenizer": self.tokenizer,
            "--no-execution": None if self.execution else True,
            "--epochs": self.epochs,
            "--minutes": self.minutes,
            "--contrast": self.contrast,
            "--rate": self.rate,
            "--light": self.light or None,
        }
        return [name for name, value in given.items() if value is not None]

    def _check_out(self, out: Path) -> None:
        needed = () if self.features else ("torch", "transformers")
        if missing := [name for name in needed if importlib.util.find_spec(name) is None]:
            raise TrainingExtraMissing(
                f"{' and '.join(missing)} not installed; training needs them: pip install 'touchstone[train]'"
            )
        try:
            check_id(out.name)
        except InvalidModel as error:
            raise BadName(f"--out: the folder's name becomes the verifier's id: {error}") from error
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise OutputExists(f"{out} exists and is not empty; a verifier is never written over another")

    @property
    def source(self) -> str:
        """The command, for the manifest."""
        given: dict[str, object] = {
            "--base": None if self.base is None else self.base.name,
            "--epochs": self.epochs,
            "--minutes": self.minutes,
            "--rate": self.rate,
            "--seed": self.seed,
        }
        words = [f"--data {path.name}" for path in self.data]
        words += [f"{name} {value}" for name, value in given.items() if value is not None]
        words += ["--features"] * self.features + ["--no-execution"] * (not self.execution)
        words += ["--no-contrast"] * (self.contrast is False) + ["--light"] * self.light
        return " ".join(("touchstone train verifier", *words))

    def plan(self, out: Path) -> Plan:
        """How to make the classifier."""
        from trainer.verifier.make import Plan

        return Plan(
            out=out,
            execution=self.execution,
            base=self.base,
            tokenizer=self.tokenizer or TOKENIZER,
            max_tokens=self.max_tokens,
            width=self.width,
            layers=self.layers,
            epochs=DEFAULT_EPOCHS if self.epochs is None and self.minutes is None else self.epochs,
            minutes=self.minutes,
            seed=self.seed,
            rate=self.rate,
            contrast=self.contrast is not False,
            light=self.light,
            source=self.source,
        )
