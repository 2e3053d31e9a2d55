"""Python programs of several files."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from sandbox import (
    AssertSuite,
    Call,
    CallSuite,
    InvalidSuite,
    Limits,
    LocalSandbox,
    Program,
    Status,
    StdioCase,
    StdioSuite,
    Suite,
)

pytestmark = pytest.mark.isolation

FILES = (("shapes/__init__.py", ""), ("shapes/area.py", "def area(a, b):\n    return a * b\n"), ("words.txt", "é\n"))
SOURCE = "from shapes.area import area\n\n\ndef doubled(a, b):\n    return 2 * area(a, b)\n"
DRIVER = (
    "drive.py",
    "from solution import doubled\n\nif __name__ == '__main__':\n    print(doubled(*map(int, input().split())))\n",
)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sandbox() -> AsyncIterator[LocalSandbox]:
    granted = LocalSandbox()
    if (await granted.probe()).name != "A":
        await granted.aclose()
        pytest.skip("programs of several files need tier A")
    yield granted
    await granted.aclose()


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(
    ("source", "suite"),
    [
        (SOURCE, CallSuite((Call(function="doubled", args=(2, 3), expected=12),))),
        (SOURCE, AssertSuite("assert doubled(2, 3) == 12\nassert doubled(1, 1) != 1\n")),
        (SOURCE, AssertSuite("x = doubled(2, 3)\nassert x == 12\n", in_process=True)),
        (SOURCE + "print(doubled(2, 3), open('words.txt').read())", StdioSuite((StdioCase("", "12 é"),))),
    ],
)
async def test_a_program_finds_its_files(source: str, suite: Suite, sandbox: LocalSandbox) -> None:
    outcome = await sandbox.run(Program(completion=source, entry_point="doubled", files=FILES), suite, Limits())
    assert outcome.status is Status.PASSED, outcome.message


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(("source", "status"), [(SOURCE, Status.PASSED), ("doubled = max", Status.WRONG_ANSWER)])
async def test_the_entry_point_names_the_file_that_is_run(source: str, status: Status, sandbox: LocalSandbox) -> None:
    program = Program(completion=source, entry_point="drive.py", files=(*FILES, DRIVER))
    outcome = await sandbox.run(program, StdioSuite((StdioCase("2 3", "12"), StdioCase("1 1", "2"))), Limits())
    assert outcome.status is status, outcome.message


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("path", ["../x.py", "/x.py", "a/../x.py", "", "solution.py"])
async def test_a_file_that_cannot_be_is_refused(path: str, sandbox: LocalSandbox) -> None:
    suite = CallSuite((Call(function="f", expected=1),))
    with pytest.raises(InvalidSuite, match="file"):
        await sandbox.run(Program(completion="", files=((path, ""),)), suite, Limits())
