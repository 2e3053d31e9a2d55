from __future__ import annotations

import asyncio
import functools
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from sandbox import LocalSandbox, SandboxUnavailable


@functools.cache
def refusal() -> str | None:
    """Why this host cannot isolate; None when it can."""

    async def ask() -> str | None:
        sandbox = LocalSandbox()
        try:
            await sandbox.probe()
        except SandboxUnavailable as error:
            return str(error)
        finally:
            await sandbox.aclose()
        return None

    return asyncio.run(ask())


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("isolation") and (reason := refusal()):
        pytest.skip(f"no isolation here: {reason}")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sandbox() -> AsyncIterator[LocalSandbox]:
    """One sandbox and one event loop for the tests of a file; they are marked with the loop scope `module`."""
    sandbox = LocalSandbox()
    yield sandbox
    await sandbox.aclose()


@pytest.fixture
def data() -> Path:
    """The folder of public data sets."""
    folder = os.environ.get("TOUCHSTONE_DATA")
    if not folder:
        pytest.skip("TOUCHSTONE_DATA does not name a folder of data sets")
    return Path(folder)
