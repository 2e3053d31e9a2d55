"""The log: every exchange with its whole candidate set, and what people say of it; stored, exported, checked.

Server and trainer meet here. What works on a database brings SQLAlchemy and Alembic, so it is imported late.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from feedback.answers import Answer, the_answer
from feedback.base import AnswerLog, ContestLog, FeedbackLog, FeedbackStore
from feedback.build import candidates_of, exchange_from, task_from_data, task_of, without_text, without_verdicts
from feedback.contest import (
    ALPHA,
    MOST_PAIRS,
    Observation,
    Verdict,
    canary_differences,
    judge_contest,
    outcome_of,
    shadow_differences,
)
from feedback.errors import (
    FeedbackError,
    ForeignExchange,
    InvalidExchange,
    InvalidSignal,
    SchemaTooNew,
    StoreFailed,
    StoreUnavailable,
    TooManySuites,
    UnknownChoice,
    UnknownExchange,
)
from feedback.export import logged_from, read_export, read_lines, replacing, to_line
from feedback.lossless import dumps, loads
from feedback.memory import InMemoryStore
from feedback.prompts import prompt_from_data, prompt_hash, prompt_to_data
from feedback.redact import may_hold, redact, redact_all
from feedback.redacting import RedactingStore, signal_without_secrets, without_secrets
from feedback.stored_suites import NOBODY, StoredSuite, SuiteStore
from feedback.suites import suite_from_data, suite_to_data
from feedback.types import (
    LOCAL,
    RECORD_VERSION,
    Exchange,
    Logged,
    Purpose,
    Receipt,
    Signal,
    SignalType,
    StoredCandidate,
    TestCounts,
)
from feedback.where import Where, find_log
from feedback.words import Word, last_word

if TYPE_CHECKING:
    from feedback.sql.answered import AnsweredRequests
    from feedback.sql.channel import Channel
    from feedback.sql.outbox import OutboxStore
    from feedback.sql.peek import peek
    from feedback.sql.store import SqlStore

__all__ = [
    "ALPHA",
    "LOCAL",
    "MOST_PAIRS",
    "NOBODY",
    "RECORD_VERSION",
    "Answer",
    "AnswerLog",
    "AnsweredRequests",
    "Channel",
    "ContestLog",
    "Exchange",
    "FeedbackError",
    "FeedbackLog",
    "FeedbackStore",
    "ForeignExchange",
    "InMemoryStore",
    "InvalidExchange",
    "InvalidSignal",
    "Logged",
    "Observation",
    "OutboxStore",
    "Purpose",
    "Receipt",
    "RedactingStore",
    "SchemaTooNew",
    "Signal",
    "SignalType",
    "SqlStore",
    "StoreFailed",
    "StoreUnavailable",
    "StoredCandidate",
    "StoredSuite",
    "SuiteStore",
    "TestCounts",
    "TooManySuites",
    "UnknownChoice",
    "UnknownExchange",
    "Verdict",
    "Where",
    "Word",
    "canary_differences",
    "candidates_of",
    "dumps",
    "exchange_from",
    "find_log",
    "judge_contest",
    "last_word",
    "loads",
    "logged_from",
    "may_hold",
    "outcome_of",
    "peek",
    "prompt_from_data",
    "prompt_hash",
    "prompt_to_data",
    "read_export",
    "read_lines",
    "redact",
    "redact_all",
    "replacing",
    "shadow_differences",
    "signal_without_secrets",
    "suite_from_data",
    "suite_to_data",
    "task_from_data",
    "task_of",
    "the_answer",
    "to_line",
    "without_secrets",
    "without_text",
    "without_verdicts",
]


_LAZY = {
    "AnsweredRequests": "feedback.sql.answered",
    "Channel": "feedback.sql.channel",
    "OutboxStore": "feedback.sql.outbox",
    "SqlStore": "feedback.sql.store",
    "peek": "feedback.sql.peek",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
