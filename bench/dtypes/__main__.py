"""Compare the types. What is measured how, and how to run it: `bench/dtypes/__init__.py`."""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import ctranslate2

import bench.dtypes
from bench.dtypes.processes import evaluated, holding, take_turns
from bench.dtypes.rows import AUTO, REFERENCE, Row, convert_all, rows_of
from bench.dtypes.tables import print_tables
from engine import ModelStore
from reranker.evaluation import Comparison, Report, compare, load_suite

NS = (1, 16)


@dataclass(slots=True)
class Found:
    """What was measured of one row."""

    name: str
    effective: str
    weights_bytes: int | None
    pss_bytes: int
    rss_bytes: int
    model: str
    ms_per_token: dict[str, float] = field(default_factory=dict)
    """Medians, by `<threads>x<n>`."""
    over_best: dict[str, float] = field(default_factory=dict)
    """Times the fastest row's, by the same: medians of the rounds' ratios."""


def main() -> None:
    """Measure, print, and write the figures."""
    args = _arguments()
    with tempfile.TemporaryDirectory() as folder:
        state = Path(folder)
        given = args.model or _bundled(state)
        model = convert_all(given / "hf", state)
        rows = rows_of(model)
        found = [_look(row, state) for row in rows]
        as_given = _look(Row(AUTO, given, AUTO), state)
        prompts = [problem.prompt for problem in load_suite("bundled").problems[:8]]
        for threads in args.threads:
            costs = take_turns(rows, threads, state, prompts=prompts, rounds=args.rounds, tokens=args.tokens, ns=NS)
            _enter(found, costs, threads)
        reports: dict[str, Report] = {}
        if args.problems != 0:
            for row in rows[:-1]:
                target = state / f"{row.name}.json"
                reports[row.name] = evaluated(
                    row, target, seed=args.seed, n=args.n, ks=_ks(args.n), problems=args.problems
                )
    comparisons = {name: compare(reports[REFERENCE], report) for name, report in reports.items() if name != REFERENCE}
    print_tables(found, args.threads, NS, reports, comparisons, as_given)
    if args.json is not None:
        args.json.write_text(json.dumps(_data(args, found, reports, comparisons, as_given), indent=2) + "\n")


def _arguments() -> argparse.Namespace:
    description = bench.dtypes.__doc__
    parser = argparse.ArgumentParser(
        prog="python -m bench.dtypes", description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, help="a model folder with hf/; the bundled one if left out")
    parser.add_argument("--problems", type=int, help="of the bundled suite; 0: no quality; left out: all")
    parser.add_argument("--n", type=int, default=16, help="samples a problem")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--tokens", type=int, default=64, help="of each candidate that is timed")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--json", type=Path, help="write the figures here")
    args = parser.parse_args()
    if args.model is not None:
        args.model = args.model.resolve()
        if not (args.model / "hf" / "config.json").is_file():
            parser.error(f"--model: {args.model} has no hf/config.json")
    for name, least in (("n", 1), ("rounds", 1), ("tokens", 1), ("problems", 0)):
        if getattr(args, name) is not None and getattr(args, name) < least:
            parser.error(f"--{name}: must be at least {least}")
    return args


def _bundled(state: Path) -> Path:
    champion = ModelStore(state).champion()
    if champion is None:
        sys.exit("no bundled model in this checkout; give --model")
    return champion.folder


def _ks(n: int) -> tuple[int, ...]:
    return tuple(k for k in (1, 4, 16) if k <= n)


def _look(row: Row, state: Path) -> Found:
    """Load it in a process of its own while no other is there: shared pages would make each look smaller."""
    with holding(row, 1, state) as held:
        weights = row.weights
        size = None if weights is None else weights.stat().st_size
        return Found(row.name, held.dtype, size, held.pss_bytes, held.rss_bytes, held.model)


def _enter(found: Sequence[Found], costs: dict[tuple[str, int], list[float]], threads: int) -> None:
    """Medians, and ratios to the fastest of the rows that name a type."""
    for n in NS:
        key = f"{threads}x{n}"
        for row in found:
            row.ms_per_token[key] = statistics.median(costs[row.name, n])
        best = min((row for row in found if row.name != AUTO), key=lambda row: row.ms_per_token[key])
        for row in found:
            pairs = zip(costs[row.name, n], costs[best.name, n], strict=True)
            row.over_best[key] = statistics.median(one / other for one, other in pairs)


def _data(
    args: argparse.Namespace,
    found: Sequence[Found],
    reports: dict[str, Report],
    comparisons: dict[str, Comparison],
    as_given: Found,
) -> dict[str, Any]:
    return {
        "kind": "touchstone dtypes",
        "schema_version": 1,
        "ctranslate2": ctranslate2.__version__,
        "supported": sorted(ctranslate2.get_supported_compute_types("cpu")),
        "cores": len(os.sched_getaffinity(0)),
        "settings": {name: value for name, value in vars(args).items() if name not in ("json", "model")},
        "rows": [asdict(row) for row in found],
        "auto_as_given": {"effective": as_given.effective, "model": as_given.model},
        "quality": {name: [asdict(measure) for measure in report.measures()] for name, report in reports.items()},
        "differences_to_float32": {
            name: [asdict(difference) for difference in comparison.differences]
            for name, comparison in comparisons.items()
        },
    }


if __name__ == "__main__":
    main()
