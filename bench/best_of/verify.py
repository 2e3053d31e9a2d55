"""The tests as a script runs them that has samples from a server: a process a program, one after another."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Sequence

from bench.best_of.asked import Asked
from reranker.evaluation import Problem


async def first_passing(problem: Problem, completions: Sequence[str], asked: Asked) -> tuple[bool, int]:
    """Whether any passes, and how many were run until one did."""
    for number, completion in enumerate(completions, 1):
        if await asyncio.to_thread(_passes, problem, completion, asked.timeout_s):
            return True, number
    return False, len(completions)


def _passes(problem: Problem, completion: str, timeout_s: float) -> bool:
    """No isolation but Python's `-I`: as such scripts do."""
    program = f"{problem.prompt}{completion}\n\n{problem.test}\n\ncheck({problem.entry_point})\n"
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-c", program], timeout=timeout_s, capture_output=True, stdin=subprocess.DEVNULL
        )
    except (subprocess.TimeoutExpired, ValueError):  # ValueError: a null byte in the program
        return False
    return done.returncode == 0
