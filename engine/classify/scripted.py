"""The shipped double of `Classifier`: answers by the words a text holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from engine.classify.base import ClassifierInfo
from engine.errors import EngineFailed


class ScriptedClassifier:
    """Gives each text the answer of the first word it holds; `texts` keeps what was asked.

    A text that holds none of the words, and any text after `aclose`, is an `EngineFailed`: what a classifier that
    breaks while it works raises.
    """

    def __init__(self, answers: Mapping[str, float], *, execution: bool = True, input_format: int = 1) -> None:
        self.texts: list[str] = []
        self._answers: Mapping[str, float] | None = answers
        self._info = ClassifierInfo(
            id="scripted",
            backend="scripted",
            dtype="float32",
            execution=execution,
            input_format=input_format,
            max_tokens=1024,
        )

    @property
    def info(self) -> ClassifierInfo:
        """See `Classifier`."""
        return self._info

    async def probabilities(self, texts: Sequence[str]) -> list[float]:
        """See `Classifier`."""
        self.texts += texts
        return [self._answer(text) for text in texts]

    async def aclose(self) -> None:
        """See `Classifier`."""
        self._answers = None

    def _answer(self, text: str) -> float:
        for word, answer in (self._answers or {}).items():
            if word in text:
                return answer
        raise EngineFailed("the scripted classifier has no answer")
