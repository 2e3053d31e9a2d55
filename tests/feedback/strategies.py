"""Any text, any JSON, any record, for Hypothesis."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from hypothesis import strategies as st

from feedback import Exchange, Signal, StoredCandidate, TestCounts
from tests.feedback.records import exchange, signal

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
