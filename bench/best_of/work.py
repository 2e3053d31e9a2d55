"""The sides in turns, and the table."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.best_of.asked import Answer, Asked, Side
from bench.best_of.servers import Server
from bench.process import in_turn
from bench.progress import Progress
from reranker.evaluation import Problem


@dataclass(frozen=True, slots=True)
class Timed:
    """One answer and how long it took, in seconds of wall time."""

    answer: Answer
    wall_s: float


Rounds = list[list[Timed]]
"""Of one side: by round, then by problem."""


async def measure(
    sides: Mapping[Side, Sequence[Server]], problems: Sequence[Problem], asked: Asked, rounds: int
) -> dict[Side, Rounds]:
    """Every side's answers: in each round each problem by each side in turn, in an order that changes.

    `sides` says which servers a side asks. A first answer of each is not counted.
    """
    progress = Progress()
    found: dict[Side, Rounds] = {side: [] for side in sides}
    order = list(sides)
    try:
        for side in order:
            progress.say("warming up:", side.name)
            await _timed(side, sides[side], problems[0], asked)
        for number in range(rounds):
            for side in order:
                found[side].append([])
            for at, problem in enumerate(problems):
                first = (number + at) % len(order)
                for side in (*order[first:], *order[:first]):
                    progress.say("measuring:", f"round {number + 1} of {rounds}, problem {at + 1}, {side.name}")
                    found[side][-1].append(await _timed(side, sides[side], problem, asked))
    finally:
        progress.end()
    return found


async def _timed(side: Side, servers: Sequence[Server], problem: Problem, asked: Asked) -> Timed:
    with in_turn([server.pid for server in servers]):
        began_s = time.perf_counter()
        answer = await side.answer(problem, asked)
        return Timed(answer, time.perf_counter() - began_s)


def ratios(ours: Rounds, theirs: Rounds) -> tuple[float, float, float]:
    """Our time over theirs, all problems of a round together: the median round's, the least, the most."""
    each = [_seconds(one) / _seconds(other) for one, other in zip(ours, theirs, strict=True)]
    return statistics.median(each), min(each), max(each)


def lines(found: Mapping[Side, Rounds], ours: Sequence[Side]) -> list[str]:
    """The table."""
    width = max(len(side.name) for side in found)
    told = [f"{'':{width}}{'mean s':>9}{'median':>9}{'verified':>10}{'tokens':>8}{'runs':>6}"]
    for side, rounds in found.items():
        all_of_it = [timed for one in rounds for timed in one]
        walls = [timed.wall_s for timed in all_of_it]
        verified = f"{sum(timed.answer.verified for timed in all_of_it)}/{len(all_of_it)}"
        tokens = statistics.mean(timed.answer.tokens for timed in all_of_it)
        runs = statistics.mean(timed.answer.runs for timed in all_of_it)
        told.append(
            f"{side.name:{width}}{statistics.mean(walls):9.2f}{statistics.median(walls):9.2f}{verified:>10}"
            f"{tokens:8.0f}{runs:6.1f}"
        )
    for our in ours:
        for side in found:
            if side not in ours:
                middle, least, most = ratios(found[our], found[side])
                told.append(f"{our.name} over {side.name}: {middle:.2f} (rounds: {least:.2f} to {most:.2f})")
    return told


def _seconds(rounds: Sequence[Timed]) -> float:
    return sum(timed.wall_s for timed in rounds)
