"""The `Sandbox` port."""

from __future__ import annotations

from typing import Protocol

from sandbox.outcome import OnTest, Outcome
from sandbox.types import NOBODYS, Limits, Program, Suite, Whose


class Sandbox(Protocol):
    """Runs one untrusted program against one suite."""

    async def run(
        self,
        program: Program,
        suite: Suite,
        limits: Limits,
        on_test: OnTest | None = None,
        *,
        whose: Whose = NOBODYS,
    ) -> Outcome:
        """Run it and say what it did.

        `on_test` is called on the event loop as each test finishes, and again for a test whose verdict changed since.
        Those who wait for a core take turns, `whose` they are: the lower priority first, then key by key, and within a
        key request by request, whatever the number of each one's runs. A key may not have all places that wait.
        Cancelling the awaiting task kills the run.
        Raises `SandboxUnavailable`, `SandboxBusy`, `LaunchFailed` or `InvalidSuite`; never for what the candidate did.
        """
        ...

    async def aclose(self) -> None:
        """Kill what still runs and free every resource."""
        ...
