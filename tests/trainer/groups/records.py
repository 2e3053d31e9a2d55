"""Exchanges to make groups of, and the groups that come of them."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from feedback import Exchange, Logged, Signal, StoredCandidate, TestCounts, prompt_hash, suite_to_data
from sandbox import AssertSuite, Outcome, Status, Suite, TestOutcome
from trainer.groups import Group, Settings, Solution, Tally, groups_from

BEGIN = datetime(2026, 6, 1, tzinfo=UTC)
PROMPT = "def inc(x):\n"
SUITE = AssertSuite("assert inc(1) == 2\nassert inc(5) == 6\n", visible=False)
RIGHT, WRONG, RAISES, BROKEN = "    return x + 1", "    return x", "    return y", "    return ("
HALF = "    return 2"
COUNTS = {"pass": (2, 0, 0), "partial": (1, 1, 0), "runtime_error": (0, 0, 2), "syntax_error": (0, 0, 0)}


def candidate(text: str, verdict: str | None = None, index: int = 0, **changes: Any) -> StoredCandidate:
    """One as the log keeps it; `verdict` is its class, with tests to match."""
    tests = None
    if verdict is not None:
        passed, failed, errored = COUNTS[verdict]
        tests = TestCounts(passed=passed, failed=failed, errored=errored, not_run=2 - passed - failed - errored)
    made = StoredCandidate(
        index=index,
        rank=index,
        choice=None,
        text=text,
        raw_text=text,
        finish_reason="stop",
        greedy=False,
        token_count=5,
        mean_logprob=-0.5,
        sum_logprob=-2.5,
        duplicate_of=None,
        scores={},
        program_class=verdict,
        run_status=None,
        tests=tests,
        outcome=None,
        generate_s=None,
        execute_s=None,
    )
    return replace(made, **changes)


def exchange(
    *candidates: StoredCandidate,
    number: int = 0,
    prompt: str | dict[str, Any] = PROMPT,
    suite: Suite | None = SUITE,
    **changes: Any,
) -> Exchange:
    """The exchange of minute `number`; the candidates are numbered in order, the first is shown."""
    data = {"kind": "text", "text": prompt} if isinstance(prompt, str) else prompt
    numbered = [
        replace(each, index=place, rank=place, choice=None if place else 0) for place, each in enumerate(candidates)
    ]
    made = Exchange(
        id=f"cmpl-{number:06}",
        created_at=BEGIN + timedelta(minutes=number),
        route="/v1/completions",
        purpose="traffic",
        key_id=None,
        session_id=None,
        model="tiny:1-int8.r3",
        round=3,
        engine="scripted",
        dtype="float32",
        config_hash="b2:0",
        prompt=data,
        prompt_hash=prompt_hash(data),
        task={
            "shape": {"text": "completion"}.get(data["kind"], data["kind"]),
            "prefix": None,
            "suffix": data.get("suffix", ""),
            "entry_point": None,
        },
        options={"dedupe": "ast"},
        suite=None if suite is None else suite_to_data(suite),
        method="tests",
        status="complete",
        reason="",
        prompt_tokens=5,
        sampled_tokens=21,
        returned_tokens=7,
        timings_s={},
        candidates=tuple(numbered),
    )
    return replace(made, **changes)


def chat(*contents: str) -> dict[str, Any]:
    roles = ("user", "assistant")
    return {"kind": "chat", "messages": [{"role": roles[n % 2], "content": c} for n, c in enumerate(contents)]}


def signal(of: Exchange, kind: Any, value: Any = None, **changes: Any) -> Signal:
    made = Signal(id="s", exchange_id=of.id, created_at=of.created_at, choice=0, type=kind, value=value, source="ide")
    return replace(made, **changes)


async def logged(exchanges: Iterable[Exchange | Logged]) -> AsyncIterator[Logged]:
    for each in exchanges:
        yield (each, ()) if isinstance(each, Exchange) else each


async def made(*exchanges: Exchange | Logged, **given: Any) -> tuple[list[Group], Tally]:
    """The groups of a log, and the tally. Settings are given by their names, and so is what `groups_from` takes."""
    takes = ("sandbox", "runs_file", "teachers", "contamination")
    settings = Settings(**{name: value for name, value in given.items() if name not in takes})
    rest = {name: value for name, value in given.items() if name in takes}
    tally = Tally()
    with tempfile.TemporaryDirectory() as folder:
        found = groups_from(logged(exchanges), settings, tally=tally, scratch=Path(folder), **rest)
        return [group async for group in found], tally


def solution(text: str) -> Solution:
    """What a teacher wrote."""
    return Solution(text, "big")


def outcome(verdict: str) -> Outcome:
    """What a scripted sandbox says of a program of this class."""
    passed, failed, errored = COUNTS[verdict]
    statuses = [Status.PASSED] * passed + [Status.WRONG_ANSWER] * failed + [Status.RUNTIME_ERROR] * errored
    tests = tuple(TestOutcome(index=index, status=status) for index, status in enumerate(statuses))
    return Outcome(status=next((s for s in statuses if s is not Status.PASSED), Status.PASSED), tests=tests)


def scores(group: Group) -> dict[str, float]:
    """By text."""
    return {response.text: response.score for response in group.responses if response.score is not None}
