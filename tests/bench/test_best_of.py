"""Best of n beside peers: what needs no vLLM."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time

import psutil
import pytest

from bench.best_of.asked import Answer, Asked
from bench.best_of.verify import first_passing
from bench.best_of.work import Rounds, Timed, lines, measure, ratios
from bench.process import in_turn, stop
from reranker.evaluation import Problem

ASKED = Asked(n=3, tokens=8, timeout_s=2.0)
PROBLEM = Problem(
    task_id="t/0",
    prompt="def double(n):\n",
    entry_point="double",
    test="def check(candidate):\n    assert candidate(2) == 4\n    assert candidate(0) == 0\n",
)


async def test_programs_are_run_until_one_passes() -> None:
    right, wrong = "    return 2 * n\n", "    return n + 3\n"
    assert await first_passing(PROBLEM, [wrong, "    return (", right, right], ASKED) == (True, 3)
    assert await first_passing(PROBLEM, [wrong, "    '\0'\n"], ASKED) == (False, 2)
    endless = Asked(n=1, tokens=8, timeout_s=0.2)
    assert await first_passing(PROBLEM, ["    while True: pass\n"], endless) == (False, 1)


class Fixed:
    """A side that takes a given time."""

    def __init__(self, name: str, wall_s: float) -> None:
        self.name = name
        self._wall_s = wall_s

    async def answer(self, problem: Problem, asked: Asked) -> Answer:
        await asyncio.sleep(self._wall_s)
        return Answer(verified=True, tokens=asked.n * asked.tokens, runs=1)


async def test_sides_take_turns_and_are_compared_round_by_round() -> None:
    fast, slow = Fixed("fast", 0.01), Fixed("slow", 0.04)
    found = await measure({fast: (), slow: ()}, [PROBLEM, PROBLEM], ASKED, rounds=2)
    assert [[len(one) for one in rounds] for rounds in found.values()] == [[2, 2], [2, 2]]
    told = lines(found, [fast])
    assert "4/4" in told[1]
    assert told[-1].startswith("fast over slow: 0.")


def test_a_ratio_is_of_a_rounds_whole_time() -> None:
    def rounds(*walls: tuple[float, float]) -> Rounds:
        return [[Timed(Answer(verified=True, tokens=1, runs=1), wall) for wall in one] for one in walls]

    ours, theirs = rounds((1, 3), (1, 1), (2, 2)), rounds((4, 4), (4, 4), (2, 2))
    assert ratios(ours, theirs) == pytest.approx((0.5, 0.25, 1.0))


def test_who_is_not_in_turn_is_stopped() -> None:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        stop(process.pid)
        with in_turn([process.pid]):
            assert psutil.Process(process.pid).status() != psutil.STATUS_STOPPED
        end = time.monotonic() + 10
        while psutil.Process(process.pid).status() != psutil.STATUS_STOPPED:
            assert time.monotonic() < end
    finally:
        process.kill()
        process.wait()
