"""Choose among candidates: sample, run, score, select, under one deadline.

`best_of_n` is the story; start there.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from reranker.base import Scorer
from reranker.best_of_n import best_of_n
from reranker.dedupe import program_key
from reranker.errors import (
    InvalidQuestions,
    InvalidRequest,
    InvalidVerifier,
    JudgeFailed,
    NoCandidates,
    RerankError,
    UnknownMethod,
    first_of,
)
from reranker.examples import find_examples
from reranker.extract import entry_point_of, extract
from reranker.inputs import inputs_from
from reranker.off_loop import off_loop
from reranker.scorers import LEARNED, METHODS, create_scorer, needs_of
from reranker.select import order
from reranker.types import Candidate, Options, Ranking, Score, Task, Trials

if TYPE_CHECKING:
    from reranker.verifier.features import FEATURES, features_of
    from reranker.verifier.files import read_questions, write_line
    from reranker.verifier.load import Loaded
    from reranker.verifier.logistic import FeatureModel, read_features, write_features
    from reranker.verifier.question import Attempt, Labelled, Question, question_of
    from reranker.verifier.scorers import DiscriminatorScorer, FeatureJudge, Judge, TextJudge, VerifierScorer, combine
    from reranker.verifier.text import INPUT_FORMAT, verifier_text

_LATER = {
    "FEATURES": "reranker.verifier.features",
    "features_of": "reranker.verifier.features",
    "read_questions": "reranker.verifier.files",
    "write_line": "reranker.verifier.files",
    "Loaded": "reranker.verifier.load",
    "FeatureModel": "reranker.verifier.logistic",
    "read_features": "reranker.verifier.logistic",
    "write_features": "reranker.verifier.logistic",
    "Attempt": "reranker.verifier.question",
    "Labelled": "reranker.verifier.question",
    "Question": "reranker.verifier.question",
    "question_of": "reranker.verifier.question",
    "DiscriminatorScorer": "reranker.verifier.scorers",
    "FeatureJudge": "reranker.verifier.scorers",
    "Judge": "reranker.verifier.scorers",
    "TextJudge": "reranker.verifier.scorers",
    "VerifierScorer": "reranker.verifier.scorers",
    "combine": "reranker.verifier.scorers",
    "INPUT_FORMAT": "reranker.verifier.text",
    "verifier_text": "reranker.verifier.text",
}
"""Verifiers bring numpy, which most commands do without: imported when they are first named."""

__all__ = [
    "FEATURES",
    "INPUT_FORMAT",
    "LEARNED",
    "METHODS",
    "Attempt",
    "Candidate",
    "DiscriminatorScorer",
    "FeatureJudge",
    "FeatureModel",
    "InvalidQuestions",
    "InvalidRequest",
    "InvalidVerifier",
    "Judge",
    "JudgeFailed",
    "Labelled",
    "Loaded",
    "NoCandidates",
    "Options",
    "Question",
    "Ranking",
    "RerankError",
    "Score",
    "Scorer",
    "Task",
    "TextJudge",
    "Trials",
    "UnknownMethod",
    "VerifierScorer",
    "best_of_n",
    "combine",
    "create_scorer",
    "entry_point_of",
    "extract",
    "features_of",
    "find_examples",
    "first_of",
    "inputs_from",
    "needs_of",
    "off_loop",
    "order",
    "program_key",
    "question_of",
    "read_features",
    "read_questions",
    "verifier_text",
    "write_features",
    "write_line",
]


def __getattr__(name: str) -> Any:
    if name in _LATER:
        return getattr(import_module(_LATER[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
