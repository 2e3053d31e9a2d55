"""Records to store, plain ones by number."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

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
