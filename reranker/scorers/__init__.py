"""The scorers, and their registry: every name here is a value of `rerank.method`."""

from __future__ import annotations

from collections.abc import Collection

from reranker.base import Evidence, Scorer
from reranker.errors import UnknownMethod
from reranker.scorers.agreement import AgreementScorer, SqrtAgreementScorer
from reranker.scorers.b4 import B4Scorer
from reranker.scorers.clusters import ClustersScorer
from reranker.scorers.likelihood import LikelihoodScorer, SumLikelihoodScorer
from reranker.scorers.majority import MajorityScorer
from reranker.scorers.outcome import OutcomeScorer
from reranker.scorers.srank import SRankScorer
from reranker.scorers.static import StaticScorer

METHODS: dict[str, type[Scorer]] = {
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

LEARNED = ("verifier", "features", "discriminator")
"""Methods that need a model of their own: `best_of_n` is given those that are loaded."""
READS_ALL = ("verifier", "features")
"""Those that judge by whatever was run, and need none of it."""


def create_scorer(method: str) -> Scorer:
    """Make the scorer of that name. Raises `UnknownMethod`, naming the known ones."""
    if method not in METHODS:
        raise UnknownMethod("rerank.method", f"unknown method {method!r}; known: off, auto, {', '.join(METHODS)}")
    return METHODS[method]()


def needs_of(method: str) -> frozenset[Evidence]:
    """What a registered scorer needs to have been run; nothing for any other name."""
    return METHODS[method].needs if method in METHODS else frozenset()


def free_methods(evidence: Collection[Evidence]) -> list[str]:
    """The scorers that only count what is at hand: those whose evidence is there, without a model and a parser."""
    return [name for name, scorer in METHODS.items() if scorer.needs and scorer.needs <= set(evidence)]
