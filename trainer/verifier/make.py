"""The whole making of a verifier: questions, training, calibration, report, the folder to serve."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from engine import FEATURES_NAME, convert_classifier, is_convertible, seal_verifier
from reranker import INPUT_FORMAT, Labelled, write_features
from trainer.errors import OutputExists
from trainer.verifier.logit import fit_tuned, table_of, with_untried
from trainer.verifier.measures import Floats, best_temperature, correct_of
from trainer.verifier.questions import Split, count_classes, split
from trainer.verifier.worth import measure

if TYPE_CHECKING:
    from trainer.verifier.train import Progress

TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")
CONVERSIONS = ("int8", "float32")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to make."""

    out: Path
    execution: bool = True
    base: Path | None = None
    """A checkpoint to fine-tune; None: a small RoBERTa from nothing, with `tokenizer`'s vocabulary."""
    tokenizer: Path
    max_tokens: int = 320
    width: int = 128
    layers: int = 2
    epochs: int | None = None
    minutes: float | None = None
    seed: int = 0
    rate: float | None = None
    """Of learning; None: 1e-3 from nothing, 5e-5 (LEVER's) for a base."""
    contrast: bool = True
    """Without execution: Condor's contrastive stage before the classifier's."""
    light: bool = False
    """Write only what is served without torch: the int8 conversion and the feature model."""
    source: str = ""


@dataclass(frozen=True, slots=True)
class Made:
    """What came of it: sizes, temperature, and figures of the part that neither training nor calibration saw."""

    parameters: int
    temperature: float
    metrics: Mapping[str, Any]


class Maker:
    """Makes one verifier; iterate over `train`, then call `write`. Needs torch."""

    def __init__(self, plan: Plan, questions: Sequence[Labelled]) -> None:
        from trainer.verifier.model import Shape, from_base, from_nothing, read_tokenizer
        from trainer.verifier.train import Recipe, Trainer

        self.plan = plan
        self.parts = split(questions)
        self._tokenizer = read_tokenizer(plan.base or plan.tokenizer, plan.max_tokens)
        if plan.base is None:
            shape = Shape(width=plan.width, layers=plan.layers, heads=max(1, plan.width // 32), inner=4 * plan.width)
            self._model = from_nothing(self._tokenizer, plan.max_tokens, shape, plan.seed)
        else:
            self._model = from_base(plan.base, plan.seed)
        rate = plan.rate or (1e-3 if plan.base is None else 5e-5)
        recipe = Recipe(execution=plan.execution, epochs=plan.epochs, minutes=plan.minutes, rate=rate, seed=plan.seed)
        self._trainer = Trainer(self._model, self._tokenizer, self.parts.train, recipe)

    @property
    def parameters(self) -> int:
        """Trained values."""
        return sum(parameter.numel() for parameter in self._model.parameters())

    def train(self) -> Iterator[Progress]:
        """Train, yielding after every step; Condor's contrastive stage first where nothing is executed."""
        if self.plan.contrast and not self.plan.execution:
            yield from self._trainer.contrast()
        yield from self._trainer.classify()

    def write(self) -> Made:
        """Calibrate, measure, and write the folder, which appears complete or not at all."""
        plan = self.plan
        temperature = self._temperature(self.parts.dev)
        metrics = measure(self._margins(self.parts.test), self.parts.test, temperature) | counts(self.parts)
        with placed(plan.out) as folder:
            self._write_hf(folder / "hf")
            if is_convertible(folder / "hf"):
                for dtype in CONVERSIONS[: 1 if plan.light else None]:
                    convert_classifier(folder / "hf", folder / f"ct2-{dtype}", dtype)
                if plan.light:
                    shutil.rmtree(folder / "hf")
            if plan.execution:
                model, penalty = fit_tuned(with_untried(self.parts.train), plan.seed)
                write_features(folder / FEATURES_NAME, model)
                logits = [model.logits(table_of(each).features) * model.temperature for each in self.parts.test]
                metrics["features"] = measure(logits, self.parts.test, model.temperature) | {"penalty": penalty}
            seal_verifier(
                folder,
                id=plan.out.name,
                execution=plan.execution,
                input_format=INPUT_FORMAT,
                max_tokens=plan.max_tokens,
                temperature=temperature,
                base=None if plan.base is None else plan.base.name,
                source=plan.source or None,
                metrics=metrics,
            )
        return Made(self.parameters, temperature, metrics)

    def _margins(self, questions: Sequence[Labelled]) -> list[Floats]:
        from trainer.verifier.train import margins

        return margins(self._model, self._tokenizer, questions, execution=self.plan.execution)

    def _temperature(self, questions: Sequence[Labelled]) -> float:
        correct = np.concatenate([correct_of(labelled) for labelled in questions])
        return best_temperature(np.concatenate(self._margins(questions)), correct)

    def _write_hf(self, folder: Path) -> None:
        from transformers.utils.logging import disable_progress_bar

        quiet: Any = disable_progress_bar
        quiet()
        self._model.save_pretrained(folder)
        for name in TOKENIZER_FILES:
            path = (self.plan.base or self.plan.tokenizer) / name
            if path.is_file():
                shutil.copyfile(path, folder / name)
        (folder / "model.safetensors").chmod(0o644)


def make_features(out: Path, questions: Sequence[Labelled], seed: int, source: str) -> Made:
    """A folder with the model of execution features alone; no torch. Raises `OutputExists`, `BadQuestions`."""
    parts = split(questions)
    model, penalty = fit_tuned(with_untried((*parts.train, *parts.dev)), seed)
    logits = [model.logits(table_of(each).features) * model.temperature for each in parts.test]
    metrics = {"features": measure(logits, parts.test, model.temperature) | {"penalty": penalty}} | counts(parts)
    with placed(out) as folder:
        write_features(folder / FEATURES_NAME, model)
        seal_verifier(
            folder,
            id=out.name,
            execution=True,
            input_format=INPUT_FORMAT,
            max_tokens=512,
            source=source or None,
            metrics=metrics,
        )
    return Made(len(model.weights) + 1, model.temperature, metrics)


def set_threads(threads: int) -> None:
    """Threads of torch's operators: two stall each other on contended cores (docs/experiments.md)."""
    import torch

    torch.set_num_threads(threads)


def counts(parts: Split) -> dict[str, Any]:
    """Questions of each part, and the attempts of training by class."""
    return {
        "train_questions": len(parts.train),
        "dev_questions": len(parts.dev),
        "train_classes": {cls.value: count for cls, count in sorted(count_classes(parts.train).items())},
    }


@contextmanager
def placed(out: Path) -> Iterator[Path]:
    """A folder to write into, renamed to `out` when the block ends well. Raises `OutputExists`."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise OutputExists(f"{out} exists and is not empty; a verifier is never written over another")
    out.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        yield folder
        folder.chmod(0o755)
        folder.rename(out)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
