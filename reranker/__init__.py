"""Choose among candidates: sample, run, score, select, under one deadline.

`best_of_n` is the story; start there.
"""

from reranker.base import Scorer
from reranker.best_of_n import best_of_n
from reranker.errors import InvalidRequest, JudgeFailed, NoCandidates, RerankError, UnknownMethod
from reranker.examples import find_examples
from reranker.extract import entry_point_of, extract
from reranker.scorers import METHODS, create_scorer, needs_of
from reranker.select import order
from reranker.types import Candidate, Options, Ranking, Score, Task, Trials

__all__ = [
    "METHODS",
    "Candidate",
    "InvalidRequest",
    "JudgeFailed",
    "NoCandidates",
    "Options",
    "Ranking",
    "RerankError",
    "Score",
    "Scorer",
    "Task",
    "Trials",
    "UnknownMethod",
    "best_of_n",
    "create_scorer",
    "entry_point_of",
    "extract",
    "find_examples",
    "needs_of",
    "order",
]
