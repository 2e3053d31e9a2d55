"""The nouns of the log: exchanges with their whole candidate sets, and the signals users send about them.

The log's own versioned records, built from a `Ranking` (see `feedback.build`); frozen, timezone-aware. What was not
run is None.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

LOCAL = "local"
"""In place of a key's id: whoever asked without a key; on most hosts, its one user."""
RECORD_VERSION = 1

Purpose = Literal["traffic", "eval", "train"]
SignalType = Literal["accept", "reject", "edit", "rating", "tests", "comment", "demonstration"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TestCounts:
    """How the tests of one candidate went."""

    __test__ = False  # not a pytest class

    passed: int
    failed: int
    errored: int
    not_run: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredCandidate:
    """One candidate as it was sampled, judged and (perhaps) shown."""

    index: int
    rank: int
    """0 is the best."""
    choice: int | None
    """Its index among the choices of the reply; None when it was not shown."""
    text: str
    raw_text: str
    finish_reason: str
    greedy: bool
    token_count: int
    mean_logprob: float | None
    sum_logprob: float | None
    duplicate_of: int | None
    scores: dict[str, float | None]
    """For every method that ran."""
    score_reasons: dict[str, str] = field(default_factory=dict)
    """Why a method gave no score, by method."""
    program_class: str | None
    run_status: str | None
    tests: TestCounts | None
    outcome: dict[str, Any] | None
    """The whole sandbox outcome, as plain data; None when it was not run."""
    trial: dict[str, Any] | None = None
    """The same of the exchange's trials."""
    repairs: int | None = None
    """The candidate that this one was asked to mend."""
    generate_s: float | None
    execute_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """One API call: what was asked, what was sampled, what was decided."""

    id: str
    """UUIDv7 with the route's prefix, as in the reply's `id`."""
    created_at: datetime
    route: str
    purpose: Purpose
    key_id: str | None
    session_id: str | None
    model: str
    round: int
    engine: str
    dtype: str
    config_hash: str
    """Hash of the server's resolved configuration."""
    prompt: dict[str, Any]
    """`{"kind": "text"|"tokens"|"chat"|"fim", ...}`, as the engine got it."""
    prompt_hash: str
    task: dict[str, Any] = field(default_factory=dict)
    """`{"shape", "prefix", "suffix", "entry_point"}`; a prefix of None is the prompt's own text. See `task_of`."""
    options: dict[str, Any]
    """Sampling and reranking options as resolved."""
    suite: dict[str, Any] | None
    """`{"form", "body", "visible", "hash"}` of the suite that ran."""
    trials: dict[str, Any] | None = None
    """The same of the calls that nobody vouches for, with their `weights`; None where there were none."""
    method: str
    status: str
    reason: str
    prompt_tokens: int
    sampled_tokens: int
    returned_tokens: int
    seed_honoured: bool = False
    timings_s: dict[str, float | None]
    """queue, prefill, generate, rerank, total, first_token."""
    candidates: tuple[StoredCandidate, ...]
    version: int = RECORD_VERSION
    shadow_of: str | None = None
    """The exchange that a challenger answered too, unseen; None for every other exchange."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal:
    """What somebody says of one choice of one exchange."""

    id: str
    exchange_id: str
    created_at: datetime
    choice: int
    type: SignalType
    value: Any = None
    """bool, number, text or `{"passed", "failed"}`, by type."""
    source: str = "anonymous"
    """The key's name, or `executor` for the server's own outcomes."""
    idempotency_key: str | None = None
    elapsed_ms: float | None = None
    partial: str | None = None
    retained_after_s: float | None = None
    tags: dict[str, str] = field(default_factory=dict)


Logged = tuple[Exchange, tuple[Signal, ...]]
"""An exchange and what was said of it, oldest first."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a signal: stored, or already there under its idempotency key."""

    id: str
    duplicate: bool
