"""From verifier folders to scorers: what `best_of_n` is given as `loaded`."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from engine import FEATURES_NAME, Classifier, ModelNotFound, VerifierManifest, load_classifier, read_verifier
from reranker.base import Scorer
from reranker.errors import InvalidVerifier
from reranker.verifier.logistic import read_features
from reranker.verifier.scorers import DiscriminatorScorer, TextJudge, VerifierScorer


@dataclass(slots=True)
class Loaded:
    """Scorers by the method they are, and what must be closed after them."""

    scorers: dict[str, Scorer] = field(default_factory=dict)
    classifiers: list[Classifier] = field(default_factory=list)

    def add(self, folder: Path) -> None:
        """As what its manifest says that it was trained: verifier or discriminator. Blocks; raises as these do."""
        manifest = read_verifier(folder)
        if manifest.execution:
            self._add_verifier(folder, manifest)
        else:
            self._add_discriminator(folder, manifest)

    def add_verifier(self, folder: Path) -> None:
        """Its text verifier as `verifier`, the one of execution features as `features`; alone, that one is both.

        Blocks. Raises the engine's errors and `InvalidVerifier`, naming the file that cannot be used, or a folder that
        holds a discriminator.
        """
        manifest = read_verifier(folder)
        if not manifest.execution:
            raise InvalidVerifier(f"{folder}: trained without execution results; it is a discriminator")
        self._add_verifier(folder, manifest)

    def add_discriminator(self, folder: Path) -> None:
        """One trained with `--no-execution`, as `discriminator`. Blocks; raises as `add_verifier` does."""
        self._add_discriminator(folder, read_verifier(folder))

    def _add_verifier(self, folder: Path, manifest: VerifierManifest) -> None:
        found: dict[str, Scorer] = {}
        if (folder / FEATURES_NAME).is_file():
            found["features"] = VerifierScorer.of_features(read_features(folder / FEATURES_NAME))
        try:
            classifier = load_classifier(folder, manifest=manifest)
        except ModelNotFound:
            if not found:
                raise
            found["verifier"] = found["features"]
        else:
            self.classifiers.append(classifier)
            found["verifier"] = VerifierScorer(TextJudge(classifier))
        self.scorers.update(found)

    def _add_discriminator(self, folder: Path, manifest: VerifierManifest) -> None:
        classifier = load_classifier(folder, manifest=manifest)
        self.classifiers.append(classifier)
        self.scorers["discriminator"] = DiscriminatorScorer(classifier)

    async def aclose(self) -> None:
        """Free the weights."""
        for classifier in self.classifiers:
            await classifier.aclose()
