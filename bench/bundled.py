"""What reranking does for the bundled model: held-out problems, N samples each, chosen in several ways.

    python -m bench.bundled [--problems 100] [--n 16]

The ranking sees the examples in the prompt; every candidate is afterwards run against hidden tests that it never saw.
pass@1 is the share of samples that pass (the unbiased estimate of Chen et al. 2021 at k = 1), oracle the share of
problems with a passing sample. Intervals: bootstrap over problems, 95 %.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence

from engine import Engine, EngineConfig, ModelStore, Sampling, build_engine
from reranker import Options, best_of_n, order
from reranker.evaluation import Problem, Settings, judge, load_suite, task_of
from sandbox import NamespaceSandbox, ProgramClass, classify

RESAMPLES = 2000
WAYS = ("pass@1", "greedy", "likelihood", "examples", "oracle")


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", type=int, default=100)
    parser.add_argument("--n", type=int, default=16)
    parser.add_argument("--temperature", type=float, default=0.8)
    args = parser.parse_args()
    problems = load_suite("bundled").problems[: args.problems]
    rows = asyncio.run(measure(problems, args.n, args.temperature))
    print_table(problems, rows, args.n)


async def measure(problems: Sequence[Problem], n: int, temperature: float) -> list[dict[str, float]]:
    """One row a problem: what each way of choosing is worth, in [0, 1]."""
    with tempfile.TemporaryDirectory() as state:
        engine = await build_engine(EngineConfig(), ModelStore(state))
        sandbox = NamespaceSandbox()
        rows, began = [], time.monotonic()
        try:
            for number, problem in enumerate(problems, 1):
                rows.append(await one(problem, n, temperature, engine, sandbox))
                print(
                    f"\r{number}/{len(problems)} {time.monotonic() - began:.0f} s", end="", file=sys.stderr, flush=True
                )
        finally:
            await engine.aclose()
            await sandbox.aclose()
        print(file=sys.stderr)
        return rows


async def one(
    problem: Problem, n: int, temperature: float, engine: Engine, sandbox: NamespaceSandbox
) -> dict[str, float]:
    """Rank the candidates of one problem by its examples and judge them by its hidden tests."""
    sampling = Sampling(temperature=temperature, top_p=0.95, max_tokens=256)
    # The greedy candidate comes on top of n sampled ones, and takes no part in the choice.
    options = Options(num_candidates=n + 1, sampling=sampling, early_exit="off")
    ranking = await best_of_n(task_of(problem), options, engine=engine, sandbox=sandbox)
    texts = [candidate.text for candidate in ranking.candidates]
    outcomes = await judge(problem, texts, sandbox, Settings().limits)
    passes = [float(classify(outcomes[text]) is ProgramClass.PASS) for text in texts]
    sampled = [i for i, candidate in enumerate(ranking.candidates) if not candidate.greedy]
    likeliest = [i for i in order(ranking.candidates, ranking.scores["likelihood"]) if i in sampled]
    chosen = [i for i in ranking.order if i in sampled]
    return {
        "pass@1": statistics.mean(passes[i] for i in sampled),
        "greedy": statistics.mean(passes[i] for i in range(n + 1) if i not in sampled),
        "likelihood": passes[likeliest[0]],
        "examples": passes[chosen[0]],
        "oracle": max(passes[i] for i in sampled),
    }


def print_table(problems: Sequence[Problem], rows: Sequence[dict[str, float]], n: int) -> None:
    """Means in percent by number of steps, with intervals for the whole set, and the gain of choosing."""
    print(f"best of {n}, percent of problems solved\n{'':14}" + "".join(f"{way:>20}" for way in WAYS))
    for steps in sorted({problem.tags["n_steps"] for problem in problems}):
        part = [row for row, problem in zip(rows, problems, strict=True) if problem.tags["n_steps"] == steps]
        means = "".join(f"{100 * statistics.mean(row[way] for row in part):20.1f}" for way in WAYS)
        print(f"{steps} steps ({len(part):3})  {means}")
    print(f"all ({len(rows):3})     " + "".join(f"{interval([row[way] for row in rows]):>20}" for way in WAYS))
    gain = interval([row["examples"] - row["pass@1"] for row in rows])
    print(f"examples - pass@1, paired: {gain} points")


def interval(values: Sequence[float]) -> str:
    """Mean and 95 % bootstrap interval, in percent."""
    rng = random.Random(0)
    means = sorted(statistics.mean(rng.choices(values, k=len(values))) for _ in range(RESAMPLES))
    low, high = means[int(0.025 * RESAMPLES)], means[int(0.975 * RESAMPLES)]
    return f"{100 * statistics.mean(values):.1f} [{100 * low:.1f}, {100 * high:.1f}]"


if __name__ == "__main__":
    main()
