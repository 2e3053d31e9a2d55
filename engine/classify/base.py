"""The `Classifier` port."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassifierInfo:
    """What is loaded."""

    id: str
    backend: str
    """`ctranslate2` or `transformers`."""
    dtype: str
    execution: bool
    """Whether it reads execution results, or the program alone."""
    input_format: int
    """The version of the text form it was trained on."""
    max_tokens: int
    """Longer texts are cut from the right, as LEVER's are for MBPP."""


class Classifier(Protocol):
    """Says how probably each of some texts shows a correct program."""

    @property
    def info(self) -> ClassifierInfo: ...

    async def probabilities(self, texts: Sequence[str]) -> list[float]:
        """P(correct), calibrated, one a text and in their order. Raises `EngineFailed` where the computation fails."""
        ...

    async def aclose(self) -> None:
        """Free the weights; what is being computed is waited for."""
        ...
