"""Solved problems against tokens spent: adaptive sampling beside fixed numbers of candidates, on one model in process.

    python -m bench.adaptive --limit 60

Every mode answers the same problems as a request would: `auto`, an early exit at the first candidate that passes the
prompt's examples, the answer judged by the hidden tests. The modes take turns problem by problem.
"""

from __future__ import annotations

import argparse
import asyncio
from dataclasses import dataclass, replace

from engine import Engine, EngineConfig, ModelStore, Sampling, build_engine, find_state_dir
from reranker import Options, best_of_n
from reranker.evaluation import Estimate, Problem, estimate, judge, load_suite, task_of
from sandbox import Limits, LocalSandbox, Sandbox, Status

MODES: dict[str, Options] = {
    **{f"fixed {n}": Options(num_candidates=n) for n in (1, 4, 16, 64)},
    "auto, at most 16": Options(num_candidates=16, adaptive=True),
    "auto, at most 64": Options(num_candidates=64, adaptive=True),
    "auto, at most 64, first exit off": Options(num_candidates=64, adaptive=True, early_exit="off"),
}


@dataclass(frozen=True, slots=True)
class Answer:
    """What one mode made of one problem."""

    solved: bool
    candidates: int
    tokens: int
    total_s: float


async def answer(problem: Problem, options: Options, engine: Engine, sandbox: Sandbox) -> Answer:
    """Ask as a request would, and judge what comes back."""
    sampling = Sampling(temperature=0.8, top_p=0.95, max_tokens=256, fits_context=True)
    ranking = await best_of_n(task_of(problem), replace(options, sampling=sampling), engine=engine, sandbox=sandbox)
    text = ranking.chosen[0].text
    outcomes = await judge(problem, [text], sandbox, Limits())
    passed = outcomes[text].status is Status.PASSED
    return Answer(passed, len(ranking.candidates), ranking.sampled_tokens, ranking.total_s)


async def measure(limit: int, suite: str) -> dict[str, list[Answer]]:
    """Every mode's answers, in the problems' order."""
    engine = await build_engine(EngineConfig(), ModelStore(find_state_dir(None)))
    found: dict[str, list[Answer]] = {name: [] for name in MODES}
    try:
        async with LocalSandbox() as sandbox:
            for problem in load_suite(suite).problems[:limit]:
                for name, options in MODES.items():
                    found[name].append(await answer(problem, options, engine, sandbox))
    finally:
        await engine.aclose()
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.adaptive", description=__doc__)
    parser.add_argument("--limit", type=int, default=60, help="problems")
    parser.add_argument("--suite", default="bundled")
    args = parser.parse_args()
    found = asyncio.run(measure(args.limit, args.suite))
    print(f"{'':34}{'solved, %':>22}{'candidates':>12}{'tokens':>9}{'ms':>8}")
    for name, answers in found.items():
        solved: Estimate = estimate([float(each.solved) for each in answers])
        mean = [
            sum(values) / len(answers)
            for values in zip(*((a.candidates, a.tokens, a.total_s) for a in answers), strict=True)
        ]
        interval = f"{100 * solved.value:.1f} [{100 * solved.low:.0f}, {100 * solved.high:.0f}]"
        print(f"{name:34}{interval:>22}{mean[0]:12.1f}{mean[1]:9.0f}{1000 * mean[2]:8.0f}")


if __name__ == "__main__":
    main()
