"""Records to store: plain ones by number, and strategies for any."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from hypothesis import strategies as st

from feedback import Exchange, Purpose, Signal, SignalType, StoredCandidate, TestCounts, prompt_hash

BEGIN = datetime(2026, 5, 1, tzinfo=UTC)
_serial = itertools.count()


def candidate(index: int, *, rank: int | None = None, choice: int | None = None, ok: bool = True) -> StoredCandidate:
    return StoredCandidate(
        index=index,
        rank=index if rank is None else rank,
        choice=choice,
        text=f"    return {index}\n",
        raw_text=f"    return {index}\n\n\ndef other",
        finish_reason="stop",
        greedy=index == 0,
        token_count=7,
        mean_logprob=-0.25,
        sum_logprob=-1.5,
        duplicate_of=None,
        scores={"tests": float(ok), "likelihood": -0.25, "verifier": None},
        score_reasons={"verifier": "no model"},
        program_class="pass" if ok else "runtime_error",
        run_status="passed" if ok else "runtime_error",
        tests=TestCounts(passed=int(ok), failed=0, errored=int(not ok), not_run=0),
        outcome={"status": "passed", "tests": [{"index": 0, "status": "passed"}]},
        generate_s=0.5,
        execute_s=0.03,
    )


def exchange(number: int, *, shown: int = 1, purpose: Purpose = "traffic", key_id: str | None = None) -> Exchange:
    """The exchange of minute `number`, with three candidates of which `shown` were returned; its id is unique."""
    prompt = {"kind": "text", "text": f"def f{number}():\n"}
    return Exchange(
        id=f"cmpl-{number:06}-{next(_serial)}",
        created_at=BEGIN + timedelta(minutes=number),
        route="/v1/completions",
        purpose=purpose,
        key_id=key_id,
        session_id=None,
        model="tiny:1-int8.r0",
        round=0,
        engine="scripted",
        dtype="float32",
        config_hash="b2:0",
        prompt=prompt,
        prompt_hash=prompt_hash(prompt),
        task={"shape": "completion", "prefix": None, "suffix": "", "entry_point": None},
        options={"method": "auto", "sampling": {"temperature": 0.8}},
        suite=None,
        method="tests",
        status="complete",
        reason="",
        prompt_tokens=5,
        sampled_tokens=21,
        returned_tokens=7,
        seed_honoured=True,
        timings_s={"queue": 0.0, "prefill": None, "generate": 0.5, "rerank": 0.1, "total": 0.6, "first_token": 0.2},
        candidates=tuple(candidate(index, choice=index if index < shown else None) for index in range(3)),
    )


def signal(of: Exchange, kind: SignalType = "accept", value: Any = None, **changes: Any) -> Signal:
    """A signal on choice 0, a second after the exchange."""
    at = of.created_at + timedelta(seconds=1)
    made = Signal(id=f"signal-{next(_serial):06}", exchange_id=of.id, created_at=at, choice=0, type=kind, value=value)
    return replace(made, **changes)


any_text = st.text(st.characters(exclude_categories=()) | st.sampled_from("\0\ud83d\ude00\ufdd0\x1b"), max_size=12)
any_float = st.floats(allow_nan=False)
any_count = st.integers(0, 2**31 - 1)
any_json = st.recursive(
    st.none() | st.booleans() | st.integers() | any_float | any_text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(any_text, inner, max_size=3),
    max_leaves=8,
)
any_object = st.dictionaries(any_text, any_json, max_size=3)
any_time = st.datetimes(
    datetime(1970, 1, 2), datetime(2100, 1, 1), timezones=st.sampled_from([UTC, timezone(timedelta(hours=-7))])
)


def maybe(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | strategy


@st.composite
def any_candidate(draw: st.DrawFn, index: int) -> StoredCandidate:
    counts = st.builds(TestCounts, passed=any_count, failed=any_count, errored=any_count, not_run=any_count)
    return StoredCandidate(
        index=index,
        rank=index,
        choice=index or None,
        text=draw(any_text),
        raw_text=draw(any_text),
        finish_reason=draw(any_text),
        greedy=draw(st.booleans()),
        token_count=draw(any_count),
        mean_logprob=draw(maybe(any_float)),
        sum_logprob=draw(maybe(any_float)),
        duplicate_of=draw(maybe(any_count)),
        scores=draw(st.dictionaries(any_text, maybe(any_float), max_size=2)),
        score_reasons=draw(st.dictionaries(any_text, any_text, max_size=2)),
        program_class=draw(maybe(any_text)),
        run_status=draw(maybe(any_text)),
        tests=draw(maybe(counts)),
        outcome=draw(maybe(any_object)),
        generate_s=draw(maybe(any_float)),
        execute_s=draw(maybe(any_float)),
    )


@st.composite
def any_exchange(draw: st.DrawFn) -> Exchange:
    return replace(
        exchange(0),
        created_at=draw(any_time),
        route=draw(any_text),
        key_id=draw(maybe(any_text)),
        session_id=draw(maybe(any_text)),
        model=draw(any_text),
        prompt=draw(any_object),
        task=draw(any_object),
        options=draw(any_object),
        suite=draw(maybe(any_object)),
        reason=draw(any_text),
        timings_s=draw(st.dictionaries(any_text, maybe(any_float), max_size=2)),
        candidates=tuple(draw(any_candidate(index)) for index in range(draw(st.integers(0, 3)))),
    )


@st.composite
def any_signal(draw: st.DrawFn, of: Exchange) -> Signal:
    return signal(
        of,
        "edit",
        draw(any_text),
        created_at=draw(any_time),
        choice=1,
        source=draw(any_text),
        elapsed_ms=draw(maybe(st.floats(0, 1e9))),
        partial=draw(maybe(any_text)),
        retained_after_s=draw(maybe(st.floats(0, 1e9))),
        tags=draw(st.dictionaries(any_text, any_text, max_size=2)),
    )
