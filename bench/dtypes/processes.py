"""The processes of one comparison, seen from their parent."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.dtypes.rows import Row
from reranker.evaluation import Report, read_report

_WORKER = (sys.executable, "-m", "bench.dtypes.worker")


@dataclass(frozen=True, slots=True)
class Held:
    """A process that holds an engine, and what it said of it."""

    process: subprocess.Popen[str]
    dtype: str
    """The effective type."""
    model: str
    """The model's name, with the conversion in it."""
    pss_bytes: int
    rss_bytes: int

    def ms_per_token(self, prompt: str, n: int, tokens: int) -> float:
        """Time one request there. Raises `RuntimeError` where the process has ended."""
        return float(_ask(self.process, {"prompt": prompt, "n": n, "tokens": tokens})["ms_per_token"])


@contextmanager
def holding(row: Row, threads: int, state: Path) -> Iterator[Held]:
    """A process with this row's engine, for the length of a `with` block."""
    asked = {"mode": "hold", "folder": str(row.folder), "dtype": row.dtype, "threads": threads, "state": str(state)}
    command = [*_WORKER, json.dumps(asked)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield Held(process, **_answer(process))
        process.communicate(timeout=60)  # closes its standard input, which ends it


def evaluated(row: Row, target: Path, *, seed: int, n: int, ks: Sequence[int], problems: int | None) -> Report:
    """The report of a process that answered the bundled suite with this row's engine."""
    asked: dict[str, Any] = {"mode": "evaluate", "name": row.name, "folder": str(row.folder), "dtype": row.dtype}
    asked |= {"seed": seed, "n": n, "ks": list(ks), "problems": problems, "target": str(target)}
    subprocess.run([*_WORKER, json.dumps(asked)], check=True)
    return read_report(target)


def take_turns(
    rows: Sequence[Row],
    threads: int,
    state: Path,
    *,
    prompts: Sequence[str],
    rounds: int,
    tokens: int,
    ns: Sequence[int],
) -> dict[tuple[str, int], list[float]]:
    """Milliseconds a token by row and n, one value a round; every row's turn comes once a round, in changing order."""
    found: dict[tuple[str, int], list[float]] = {(row.name, n): [] for row in rows for n in ns}
    with ExitStack() as stack:
        held = {row.name: stack.enter_context(holding(row, threads, state)) for row in rows}
        for name in held:  # caches, and the pages of weights that nothing has touched yet
            held[name].ms_per_token(prompts[0], max(ns), tokens)
        for number in range(rounds):
            first = number % len(rows)
            for row in (*rows[first:], *rows[:first]):
                for n in ns:
                    cost_ms = held[row.name].ms_per_token(prompts[number % len(prompts)], n, tokens)
                    found[row.name, n].append(cost_ms)
            print(f"\r{threads} threads, round {number + 1}/{rounds}", end="", file=sys.stderr, flush=True)
        print(file=sys.stderr)
    return found


def _ask(process: subprocess.Popen[str], question: dict[str, Any]) -> dict[str, Any]:
    assert process.stdin is not None
    process.stdin.write(json.dumps(question) + "\n")
    process.stdin.flush()
    return _answer(process)


def _answer(process: subprocess.Popen[str]) -> dict[str, Any]:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise RuntimeError(f"the process ended with status {process.wait(60)}; its errors are above")
    answer: dict[str, Any] = json.loads(line)
    return answer
