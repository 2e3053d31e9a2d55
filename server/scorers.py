"""The scorers that hold a model of their own, from the configuration: what `best_of_n` is given as `loaded`."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from pathlib import Path

from engine import FEATURES_NAME, Classifier, EngineError, ModelNotFound, find_verifier, load_classifier
from reranker import (
    LEARNED,
    DiscriminatorScorer,
    RerankError,
    Scorer,
    TextJudge,
    VerifierScorer,
    read_features,
)
from server.config import Config

_log = logging.getLogger(__name__)
BUNDLED, BUNDLED_FAMILY = "touchstone-verifier", "touchstone:"


@dataclass(slots=True)
class Loaded:
    """Scorers by the method they are, and what must be closed after them."""

    scorers: dict[str, Scorer] = field(default_factory=dict)
    classifiers: list[Classifier] = field(default_factory=list)

    async def aclose(self) -> None:
        """Free the weights."""
        for classifier in self.classifiers:
            await classifier.aclose()


def load_scorers(config: Config, model: str) -> Loaded:
    """Load what the configuration names for a served model; blocks.

    Raises `EngineError` and `RerankError` for what was named and cannot be used. The bundled verifier is done without,
    with a warning, where it cannot be loaded.
    """
    loaded, wanted = Loaded(), config.reranker
    if wanted.verifier == "auto":
        if model.startswith(BUNDLED_FAMILY):
            try:
                _verifier(loaded, find_verifier(BUNDLED, config.state_dir))
            except (EngineError, RerankError) as error:
                _log.warning("the bundled verifier is left out: %s", error)
    elif wanted.verifier:
        _verifier(loaded, find_verifier(wanted.verifier, config.state_dir))
    if wanted.discriminator:
        classifier = load_classifier(find_verifier(wanted.discriminator, config.state_dir))
        loaded.classifiers.append(classifier)
        loaded.scorers["discriminator"] = DiscriminatorScorer(classifier)
    server = config.server
    for name in ("default_method", "default_method_fim", "default_method_stream"):
        if (method := getattr(server, name)) in LEARNED and method not in loaded.scorers:
            raise ModelNotFound(f"server.{name}: {method!r} needs a model of its own, and [reranker] names none")
    return loaded


def _verifier(loaded: Loaded, folder: Path) -> None:
    """The text verifier as `verifier`, the one of execution features as `features`; alone, that one is both."""
    found: dict[str, Scorer] = {}
    if (folder / FEATURES_NAME).is_file():
        found["features"] = VerifierScorer.of_features(read_features(folder / FEATURES_NAME))
    try:
        classifier = load_classifier(folder)
    except ModelNotFound:
        if not found:
            raise
        found["verifier"] = found["features"]
    else:
        loaded.classifiers.append(classifier)
        found["verifier"] = VerifierScorer(TextJudge(classifier))
    loaded.scorers.update(found)
