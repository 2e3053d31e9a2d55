"""What a verifier folder is worth on questions it was not trained on: as it is served, conversion and all."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from engine import FEATURES_NAME, ModelNotFound, load_classifier, read_verifier
from reranker import FeatureJudge, Judge, Labelled, TextJudge, read_features
from trainer.verifier.measures import Floats
from trainer.verifier.worth import measure


async def assess(folder: Path, questions: Sequence[Labelled], backend: str = "auto") -> dict[str, Any]:
    """Figures of the classifier (`text`) and of the feature model (`features`), whichever the folder has.

    Raises the engine's errors and `reranker.InvalidVerifier`, naming the file.
    """
    manifest = read_verifier(folder)
    found: dict[str, Any] = {"verifier": manifest.id, "execution": manifest.execution}
    if (folder / FEATURES_NAME).is_file():
        judge = FeatureJudge(read_features(folder / FEATURES_NAME))
        found["features"] = measure(await _logits(judge, questions), questions, 1.0)
    try:
        classifier = load_classifier(folder, backend=backend)
    except ModelNotFound:
        if "features" not in found:
            raise
        return found
    try:
        found["backend"] = f"{classifier.info.backend} {classifier.info.dtype}"
        found["text"] = measure(await _logits(TextJudge(classifier), questions), questions, 1.0)
    finally:
        await classifier.aclose()
    return found


async def _logits(judge: Judge, questions: Sequence[Labelled]) -> list[Floats]:
    """Calibrated logits, one array a question."""
    answers = [np.array(await judge.judge(labelled.question)) for labelled in questions]
    clipped = [np.clip(each, 1e-9, 1.0 - 1e-9) for each in answers]
    return [np.asarray(np.log(each / (1.0 - each)), dtype=np.float64) for each in clipped]
