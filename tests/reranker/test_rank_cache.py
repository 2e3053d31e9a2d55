"""Outcomes are kept by what was run on what under which limits, and come back as they were."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from reranker.evaluation import UnreadableFile
from reranker.pool.cache import CachedSandbox
from sandbox import (
    Call,
    CallSuite,
    LaunchFailed,
    Limits,
    Outcome,
    Program,
    Sandbox,
    ScriptedSandbox,
    Status,
    TestOutcome,
)
from tests.contracts.sandbox import RunnerContract

from .evaluations import confined


@pytest.mark.isolation
class TestCached(RunnerContract):
    """A cache keeps every law of the sandbox behind it."""

    @pytest.fixture
    async def sandbox(self, tmp_path: Path) -> AsyncIterator[Sandbox]:
        async with confined() as inner:
            sandbox = CachedSandbox(inner, tmp_path / "cache")
            yield sandbox
            await sandbox.aclose()


PROGRAM = Program(completion="def f(x):\n    return 'h\xe9\\ud800'\n", entry_point="f")
SUITE = CallSuite((Call(function="f", args=(1,), expected=2),))
OUTCOME = Outcome(
    status=Status.WRONG_ANSWER,
    tests=(TestOutcome(index=0, status=Status.WRONG_ANSWER, cpu_s=0.25, value="'h\ud800'", value_hash="00"),),
    wall_s=0.5,
    tier="A",
)


async def test_a_run_is_asked_for_once_in_this_process_or_another(tmp_path: Path) -> None:
    inner = ScriptedSandbox(OUTCOME)
    for _ in range(2):
        sandbox = CachedSandbox(inner, tmp_path / "cache")
        assert await sandbox.run(PROGRAM, SUITE, Limits()) == OUTCOME
        seen: list[TestOutcome] = []
        assert await sandbox.run(PROGRAM, SUITE, Limits(), seen.append) == OUTCOME
        assert tuple(seen) == OUTCOME.tests
        await sandbox.aclose()
    assert len(inner.runs) == 1


async def test_whatever_changes_what_an_outcome_says_is_another_run(tmp_path: Path) -> None:
    inner = ScriptedSandbox(OUTCOME)
    sandbox = CachedSandbox(inner, tmp_path / "cache")
    await sandbox.run(PROGRAM, SUITE, Limits())
    await sandbox.run(PROGRAM, replace(SUITE, observed=True), Limits())
    await sandbox.run(PROGRAM, SUITE, Limits(cpu_s=1))
    await sandbox.run(replace(PROGRAM, entry_point=None), SUITE, Limits())
    await sandbox.run(PROGRAM, CallSuite((Call(function="f", args=(1.0,), expected=2),)), Limits())
    assert sandbox.ran == 5
    await sandbox.aclose()


async def test_a_failing_sandbox_is_not_kept(tmp_path: Path) -> None:
    sandbox = CachedSandbox(ScriptedSandbox(LaunchFailed("no")), tmp_path / "cache")
    with pytest.raises(LaunchFailed):
        await sandbox.run(PROGRAM, SUITE, Limits())
    await sandbox.aclose()
    again = CachedSandbox(ScriptedSandbox(OUTCOME), tmp_path / "cache")
    assert await again.run(PROGRAM, SUITE, Limits()) == OUTCOME
    await again.aclose()


def test_a_file_that_is_no_cache_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "cache"
    path.write_text("something else, long enough to be no header of a database" * 20)
    with pytest.raises(UnreadableFile, match="cannot be used as a cache of outcomes"):
        CachedSandbox(ScriptedSandbox(OUTCOME), path)
