"""The scorers, and their registry: every name here is a value of `rerank.method`."""

from __future__ import annotations

from collections.abc import Callable

from reranker.base import Scorer
from reranker.errors import UnknownMethod
from reranker.scorers.agreement import AgreementScorer, SqrtAgreementScorer
from reranker.scorers.b4 import B4Scorer
from reranker.scorers.clusters import ClustersScorer
from reranker.scorers.likelihood import LikelihoodScorer, SumLikelihoodScorer
from reranker.scorers.majority import MajorityScorer
from reranker.scorers.outcome import OutcomeScorer
from reranker.scorers.srank import SRankScorer
from reranker.scorers.static import StaticScorer

METHODS: dict[str, Callable[[], Scorer]] = {
    "likelihood": LikelihoodScorer,
    "examples": OutcomeScorer,
    "tests": OutcomeScorer,
    "likelihood_sum": SumLikelihoodScorer,
    "majority": MajorityScorer,
    "static": StaticScorer,
    "agreement": AgreementScorer,
    "agreement_sqrt": SqrtAgreementScorer,
    "b4": B4Scorer,
    "clusters": ClustersScorer,
    "srank": SRankScorer,
}


def create_scorer(method: str) -> Scorer:
    """Make the scorer of that name. Raises `UnknownMethod`, naming the known ones."""
    if method not in METHODS:
        raise UnknownMethod("rerank.method", f"unknown method {method!r}; known: off, auto, {', '.join(METHODS)}")
    return METHODS[method]()
