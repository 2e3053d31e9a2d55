"""Programs in other languages, really confined: their verdicts, and what they cannot do (`tools.txt`)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from sandbox import Limits, LocalSandbox, Program, Status, StdioCase, StdioSuite

from .programs import BOTH, CALLED, PROGRAMS, Given, calls, need

pytestmark = pytest.mark.isolation

OK = StdioSuite((StdioCase("", "ok"),))
TIGHT = Limits(test_cpu_s=1, test_wall_s=5, memory_bytes=256 * 2**20)
PRELUDE = """#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <initializer_list>
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>
"""
SLEEPS = "#include <unistd.h>\nint main() { sleep(100); }\n"
SAYS_OK = '#include <cstdio>\nint main() { puts("ok"); }\n'


def harms() -> list[tuple[str, str, str, str]]:
    """Language, what it does, expected status, program."""
    blocks = (Path(__file__).parent / "tools.txt").read_text("utf-8").split("=== ")[1:]
    found = []
    for block in blocks:
        head, _, source = block.partition("\n")
        language, name, status = head.split(" | ")
        found.append((language, name, status, PRELUDE + source if language == "cpp" else source))
    return found


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sandbox() -> AsyncIterator[LocalSandbox]:
    granted = LocalSandbox()
    if (await granted.probe()).name != "A":
        await granted.aclose()
        pytest.skip("programs in other languages need tier A")
    yield granted
    await granted.aclose()


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("given", PROGRAMS, ids=lambda given: f"{given.language}: {given.name}")
async def test_a_whole_program_comes_to(given: Given, sandbox: LocalSandbox) -> None:
    need(given.language)
    program = Program(completion=given.source, language=given.language, files=given.files)
    outcome = await sandbox.run(program, given.suite, Limits())
    assert outcome.status is given.status, outcome.message
    assert (outcome.tier, outcome.form, outcome.integrity) == ("A", "stdio", "strong")
    if given.status is Status.PASSED:
        assert outcome.cpu_s > 0
        assert (outcome.peak_memory_bytes or 0) > 2**20


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("language", CALLED)
async def test_calls_are_answered(language: str, sandbox: LocalSandbox) -> None:
    need(language)
    program = Program(completion=CALLED[language], language=language)
    outcome = await sandbox.run(program, calls(*(call[:3] for call in BOTH)), Limits())
    assert [(test.name, test.status) for test in outcome.tests] == [(name, status) for name, _, _, status in BOTH]


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    ("language", "status", "source"), [(a, c, d) for a, _, c, d in harms()], ids=[f"{a}: {b}" for a, b, _, _ in harms()]
)
async def test_what_a_program_cannot_do(language: str, status: str, source: str, sandbox: LocalSandbox) -> None:
    need(language)
    outcome = await sandbox.run(Program(completion=source, language=language), OK, TIGHT)
    if status == "not passed":
        assert outcome.status is not Status.PASSED
    else:
        assert outcome.status == status, outcome.message


@pytest.mark.asyncio(loop_scope="module")
async def test_a_run_is_cancelled_and_the_next_one_is_right(sandbox: LocalSandbox) -> None:
    need("cpp")
    running = asyncio.create_task(sandbox.run(Program(completion=SLEEPS, language="cpp"), OK, Limits()))
    await asyncio.sleep(1)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert (await sandbox.run(Program(completion=SAYS_OK, language="cpp"), OK, Limits())).status is Status.PASSED
