"""Questions for verifiers from what a real 16B model wrote: `python -m bench.pool --out FILE`.

Runs CodeT's pool of CodeGen-16B-mono (82 HumanEval problems, 100 samples, generated tests) in the sandbox and writes
the questions down; `touchstone train verifier --data FILE --folds 10` then cross-validates over problems. Reads
`$TOUCHSTONE_DATA`; says so and ends where that is not there.
"""

from __future__ import annotations

import argparse
import ast
import asyncio
import gzip
import json
import os
import re
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from engine import Text
from reranker import Attempt, Labelled, Question, Task, extract, write_line
from sandbox import AssertSuite, Call, CallSuite, Limits, LocalSandbox, Program, as_calls, classify

POOL, PROBLEMS = "codegen16b_humaneval_pool_even.jsonl.gz", "humaneval.jsonl.gz"
TRIAL_LIMITS = Limits(cpu_s=10, wall_s=60, test_cpu_s=1, test_wall_s=8)
HIDDEN_LIMITS = Limits(cpu_s=12, wall_s=60, test_cpu_s=3, test_wall_s=12)
TESTS_A_SAMPLE = 5
"""CodeT's own limit (arXiv:2207.10397, section 4.1)."""
_END = re.compile(r"\n(?:class |def |#|if |print)")
_ASSERT = re.compile(r"(?:^|\n)\s*assert\b")


def generated_calls(samples: list[str], entry_point: str) -> dict[str, tuple[Call, int]]:
    """The distinct calls with literal expected values among sampled tests, by their source, and how often each is."""
    counts = Counter(source for sample in samples for source in _asserts(sample, entry_point))
    found: dict[str, tuple[Call, int]] = {}
    for source, count in counts.items():
        calls = as_calls(source, entry_point)
        if calls and len(calls) == 1 and calls[0].function == entry_point:
            found[source] = (calls[0], count)
    return found


def _asserts(sample: str, entry_point: str) -> list[str]:
    text = "assert " + sample
    end = _END.search(text)
    found = []
    for part in _ASSERT.split(text[: end.start()] if end else text)[1:]:
        for source in ("assert " + part.strip(), "assert " + part.strip().split("\n")[0]):
            if entry_point in source and _parses(source):
                found.append(source)
                break
    return found[:TESTS_A_SAMPLE]


def _parses(source: str) -> bool:
    try:
        ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True


async def question_of_row(row: dict[str, Any], test: str, sandbox: LocalSandbox) -> Labelled:
    """One problem of the pool: its distinct programs, tried on the generated tests, classed by HumanEval's."""
    name, prompt = row["entry_point"], row["prompt"]
    task = Task(id=row["task_id"], prompt=Text(prompt), prefix=prompt, entry_point=name)
    programs: dict[str, Program] = {}
    copies: Counter[str] = Counter()
    for completion in row["completions"]:
        extracted = extract(task, completion)
        key = _form(extracted.program.source)
        programs.setdefault(key, extracted.program)
        copies[key] += 1
    calls = generated_calls(row["generated_tests"], name)
    trials = CallSuite(tuple(call for call, _ in calls.values()), observed=True) if calls else None

    async def tried(key: str) -> tuple[Attempt, Any]:
        program = programs[key]
        trial = None if trials is None else await sandbox.run(program, trials, TRIAL_LIMITS)
        hidden = await sandbox.run(program, AssertSuite(test, visible=False), HIDDEN_LIMITS)
        return Attempt(text=program.completion, copies=copies[key], trial=trial), classify(hidden)

    done = await asyncio.gather(*map(tried, programs))
    question = Question(
        id=row["task_id"],
        prompt=prompt,
        attempts=tuple(attempt for attempt, _ in done),
        weights=tuple(count for _, count in calls.values()),
    )
    return Labelled(question=question, classes=tuple(cls for _, cls in done))


def _form(source: str) -> str:
    """Equal for programs of equal ASTs."""
    return ast.dump(ast.parse(source)) if _parses(source) else source


async def write_questions(data: Path, out: Path) -> None:
    """Run the whole pool; some minutes."""
    tests = {row["task_id"]: row["test"] for row in _rows(data / PROBLEMS)}
    async with LocalSandbox() as sandbox:
        with out.open("w", encoding="utf-8") as file:
            for row in _rows(data / POOL):
                labelled = await question_of_row(row, tests[row["task_id"]], sandbox)
                file.write(write_line(labelled) + "\n")
                print(f"{row['task_id']}: {len(labelled.classes)} programs", file=sys.stderr)


def _rows(path: Path) -> list[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    out = parser.parse_args().out
    data = os.environ.get("TOUCHSTONE_DATA")
    if data is None or not (Path(data) / POOL).exists():
        print(f"skipped: no {POOL} in $TOUCHSTONE_DATA ({data or 'not set'})")
        return 0
    partial = out.with_suffix(".partial")
    asyncio.run(write_questions(Path(data), partial))
    partial.replace(out)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
