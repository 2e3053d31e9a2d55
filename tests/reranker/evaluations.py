"""A small suite whose scripted answers have known verdicts, and what comes of measuring it."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from engine import Scripted, ScriptedEngine
from reranker.evaluation import EngineSource, Problem, ProblemSuite, Record, Report, Settings, evaluate
from sandbox import LocalSandbox, SandboxUnavailable

SHOWN = Problem(
    task_id="shown",
    prompt='def inc(x):\n    """Add one.\n\n    >>> inc(1)\n    2\n    """\n',
    entry_point="inc",
    canonical_solution="    return x + 1\n",
    test="def check(candidate):\n    assert candidate(5) == 6\n    assert candidate(-1) == 0\n",
    tags={"n_steps": 1},
)
BARE = Problem(
    task_id="bare",
    prompt='def halve(x):\n    """Half of x."""\n',
    entry_point="halve",
    canonical_solution="    return x / 2\n",
    test="def check(candidate):\n    assert candidate(4) == 2\n    assert candidate(6) == 3\n",
    tags={"n_steps": 2},
)
GAP = Problem(
    task_id="gap",
    prompt="def twice(x):\n    y = x",
    suffix="\n    return y\n",
    entry_point="twice",
    canonical_solution=" * 2",
    test="assert twice(3) == 6\n",
    tags={"n_steps": 2},
)
SUITE = ProblemSuite(name="small", problems=(SHOWN, BARE, GAP), source="memory")

WRONG, RIGHT, BY_HEART = "    return x - 1\n", "    return x + 1\n", "    return 2\n"
SCRIPT: dict[str, list[Scripted]] = {
    SHOWN.prompt: [
        Scripted(WRONG, -0.1),
        Scripted(RIGHT, -0.5),
        Scripted(BY_HEART, -0.3),
        Scripted("    return x + 1  # again\n", -0.9),
    ],
    BARE.prompt: [
        Scripted("    return x / 2\n\n\nprint(halve(3))\n", -0.2),
        Scripted("    return y\n", -0.4),
        Scripted("    return (\n", -0.6),
        Scripted("    return 2\n", -0.8),
    ],
    f"{GAP.prompt}<FILL>{GAP.suffix}": [Scripted(" * 2", -0.1), Scripted(" * 3", -0.2)],
}
FOUR = Settings(n=4, ks=(1, 2, 4))


@asynccontextmanager
async def confined() -> AsyncIterator[LocalSandbox]:
    """A real sandbox; the test is skipped where this host grants none."""
    sandbox = LocalSandbox()
    try:
        await sandbox.probe()
        yield sandbox
    except SandboxUnavailable as error:
        pytest.skip(f"no isolation here: {error}")
    finally:
        await sandbox.aclose()


async def measure(suite: ProblemSuite = SUITE, settings: Settings = FOUR, done: Sequence[Record] = ()) -> Report:
    """The report of the scripted engine on a suite."""
    async with confined() as sandbox:
        source = EngineSource(ScriptedEngine(SCRIPT), sandbox)
        return await evaluate(suite, source, settings, sandbox=sandbox, done=done)
