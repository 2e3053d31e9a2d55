"""Small pools whose verdicts are known, and how to run the command over them."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from engine import FEATURES_NAME, find_verifier, seal_verifier
from reranker.evaluation import Problem, write_problems

ROOT = Path(__file__).resolve().parents[2]
PROMPT = 'def inc(x):\n    """Add one."""\n'
RIGHT, AGAIN, WRONG, BY_HEART, BROKEN = (
    "    return x + 1\n",
    "    return x + 1  # again\n",
    "    return x - 1\n",
    "    return 2\n",
    "    return (\n",
)
COMPLETIONS = [WRONG, RIGHT, BY_HEART, AGAIN, BROKEN, "    return 1 + x\n"]
PASSES = (False, True, False, True, False, True)
TESTS = ["inc(1) == 2\nassert inc(5) == 6\n", "inc(1) == 2\n", "inc(3) == 2\n", "inc(0) == 1"]
PROBLEM = Problem(
    task_id="p/0",
    prompt='def inc(x):\n    """Add one.\n\n    >>> inc(1)\n    2\n    """\n',
    entry_point="inc",
    test="def check(candidate):\n    assert candidate(7) == 8\n    assert candidate(-1) == 0\n",
)


def row(**changes: Any) -> dict[str, Any]:
    """A line of a pool; None takes a field away."""
    whole = {
        "task_id": "p/0",
        "prompt": PROMPT,
        "entry_point": "inc",
        "completions": COMPLETIONS,
        "generated_tests": TESTS,
        **changes,
    }
    return {name: value for name, value in whole.items() if value is not None}


def write(path: Path, *rows: object) -> Path:
    path.write_text("".join(json.dumps(each) + "\n" for each in rows))
    return path


def write_pool(folder: Path, problems: int) -> None:
    """`pool.jsonl` and `problems.jsonl` of so many problems; each other one has half the completions."""
    names = [f"p/{number}" for number in range(problems)]
    write(
        folder / "pool.jsonl",
        *(row(task_id=name, completions=COMPLETIONS[: 6 - 3 * (at % 2)]) for at, name in enumerate(names)),
    )
    write_problems(folder / "problems.jsonl", [replace(PROBLEM, task_id=name) for name in names])


def begin(folder: Path, *args: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "touchstone", "rank", *args],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(folder: Path, *args: str) -> tuple[int, str, str]:
    """Exit code, standard output, standard error."""
    process = begin(folder, *args)
    said, complained = process.communicate(timeout=240)
    return process.returncode, said, complained


def read_lines(path: Path) -> dict[tuple[str, str], dict[str, Any]]:
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return {(line["task_id"], line["method"]): line for line in lines}


def make_discriminator(folder: Path) -> Path:
    """The bundled classifier, sealed as one that was trained without execution results."""
    shutil.copytree(find_verifier("touchstone-verifier", folder), folder)
    for name in (FEATURES_NAME, "manifest.json"):
        (folder / name).unlink()
    seal_verifier(folder, id=folder.name, execution=False, input_format=1, max_tokens=320)
    return folder
