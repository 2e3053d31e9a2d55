"""The scorers, and their registry: every name here is a value of `rerank.method`."""

from __future__ import annotations

from collections.abc import Callable

from reranker.base import Scorer
from reranker.errors import UnknownMethod
from reranker.scorers.likelihood import LikelihoodScorer
from reranker.scorers.outcome import OutcomeScorer

METHODS: dict[str, Callable[[], Scorer]] = {
    "likelihood": LikelihoodScorer,
    "examples": OutcomeScorer,
    "tests": OutcomeScorer,
}


def create_scorer(method: str) -> Scorer:
    """Make the scorer of that name. Raises `UnknownMethod`, naming the known ones."""
    if method not in METHODS:
        raise UnknownMethod("rerank.method", f"unknown method {method!r}; known: off, auto, {', '.join(METHODS)}")
    return METHODS[method]()
