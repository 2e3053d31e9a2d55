"""How long `auto` takes to decide after the last token: 16 candidates, 30 tests that the model wrote.

    python -m bench.deciding

Beside it, in turns, the same matrix run bare: every distinct program once on the same tests, without a reranker. The
engine is scripted: it takes no time, so what is measured is the sandbox and the deciding.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import time

from engine import ScriptedEngine, Text
from reranker import Options, Ranking, Task, best_of_n
from sandbox import Limits, LocalSandbox, Program

HEADER = 'def f(numbers, k):\n    """The k largest of the numbers, largest first."""\n'
BODIES = [
    "    return sorted(numbers, reverse=True)[:k]",
    "    return sorted(numbers)[-k:][::-1]",
    "    return sorted(numbers)[::-1][:k]",
    "    import heapq\n    return heapq.nlargest(k, numbers)",
    "    out = sorted(numbers)\n    out.reverse()\n    return out[:k]",
    "    return sorted(numbers, key=lambda n: -n)[:k]",
    "    left, out = list(numbers), []\n    while left and len(out) < k:\n        out.append(max(left))\n"
    "        left.remove(out[-1])\n    return out",
    "    return [n for n in sorted(numbers, reverse=True)][0:k]",
    "    return sorted(numbers)[:k]",
    "    return sorted(set(numbers), reverse=True)[:k]",
    "    return sorted(numbers, reverse=True)[k:]",
    "    return sorted(numbers, reverse=True)[: k + 1]",
    "    return sorted(numbers)[-k:]",
    "    return max(numbers)",
    "    return numbers[:k]",
    "    return [max(numbers)] * k",
]


def written_tests() -> list[str]:
    """Six samples of five tests, a few of them wrong, as a model writes them."""

    def largest(numbers: list[int], k: int) -> list[int]:
        return sorted(numbers, reverse=True)[:k]

    samples = []
    for k in range(1, 7):
        rows = [[3, 1, 2], [5, 5, 4], [k], [-k, 0, 9, 9], [7, k, 3, 8]]
        lines = [f"f({row}, {k}) == {largest(row, k) if number != k else row}" for number, row in enumerate(rows)]
        samples.append(" " + "\nassert ".join(lines) + "\n")
    return samples


async def decide(sandbox: LocalSandbox) -> Ranking:
    """One request, as the server asks it."""
    script = {HEADER: BODIES}
    engine = ScriptedEngine(lambda prompt: script.get(prompt, written_tests()))
    options = Options(num_candidates=len(BODIES), include_greedy=False, generate_tests=30)
    return await best_of_n(Task(id="t", prompt=Text(HEADER), prefix=HEADER), options, engine=engine, sandbox=sandbox)


async def bare(sandbox: LocalSandbox, ranking: Ranking) -> float:
    """Seconds that the same matrix takes by itself."""
    trials = ranking.task.trials
    assert trials is not None
    programs = [Program(prompt=HEADER, completion=c.text, entry_point="f") for c in ranking.candidates]
    began = time.monotonic()
    await asyncio.gather(*(sandbox.run(program, trials.suite, Limits()) for program in programs))
    return time.monotonic() - began


async def measure(rounds: int) -> None:
    """Turns of both, and their medians."""
    async with LocalSandbox() as sandbox:
        first = await decide(sandbox)
        print(f"{len(first.candidates)} candidates, {first.num_unique} distinct, {first.num_trials} distinct tests,")
        print(f"decided by {', '.join(first.methods)}; load {os.getloadavg()[0]:.2f}")
        deciding, alone = [], []
        for _ in range(rounds):
            ranking = await decide(sandbox)
            deciding.append(ranking.rerank_s)
            alone.append(await bare(sandbox, ranking))
    here, there = statistics.median(deciding), statistics.median(alone)
    print(f"from the last token to the decision: {1000 * here:.1f} ms (median of {rounds}, aim 150)")
    print(f"the matrix by itself: {1000 * there:.1f} ms; deciding takes {here / there:.2f} times that")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.deciding", description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    asyncio.run(measure(parser.parse_args().rounds))


if __name__ == "__main__":
    main()
