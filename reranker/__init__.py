"""Choose among candidates: sample, run, score, select, under one deadline.

`best_of_n` is the story; start there.
"""

from reranker.base import Scorer
from reranker.best_of_n import best_of_n
from reranker.errors import (
    InvalidQuestions,
    InvalidRequest,
    InvalidVerifier,
    JudgeFailed,
    NoCandidates,
    RerankError,
    UnknownMethod,
)
from reranker.examples import find_examples
from reranker.extract import entry_point_of, extract
from reranker.scorers import METHODS
from reranker.select import order
from reranker.types import Candidate, Options, Ranking, Score, Task, Trials
from reranker.verifier.files import read_questions, write_line
from reranker.verifier.question import Attempt, Labelled, Question, question_of

__all__ = [
    "METHODS",
    "Attempt",
    "Candidate",
    "InvalidQuestions",
    "InvalidRequest",
    "InvalidVerifier",
    "JudgeFailed",
    "Labelled",
    "NoCandidates",
    "Options",
    "Question",
    "Ranking",
    "RerankError",
    "Score",
    "Scorer",
    "Task",
    "Trials",
    "UnknownMethod",
    "best_of_n",
    "entry_point_of",
    "extract",
    "find_examples",
    "order",
    "question_of",
    "read_questions",
    "write_line",
]
