"""What the exec runner asks of the sandbox's core: one confined process that executes a tool, and what came of it."""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from sandbox.inside.codec import frame
from sandbox.outcome import Status
from sandbox.types import Limits

OnFrame = Callable[[bytes, float, float], bool]
"""Called with the body of each message of the process, in order, and with the CPU and wall seconds since the one before
(since the start, for the first). False ends the process: nothing more of it is wanted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecuteJob:
    """One confined process: `compile` may start processes and sends one message, `run` becomes `argv`."""

    kind: Literal["compile", "run"]
    files: Mapping[str, bytes]
    """What is written into the process's own folder: contents by relative path."""
    argv: tuple[str, ...]
    env: Mapping[str, str]
    stdin: bytes = b""
    collect: tuple[str, ...] = ()
    artifact_bytes: int = 0
    """The most that may be collected."""
    calls: Mapping[str, Any] | None = None
    """What a shim reads behind the job; its answers are the messages."""
    limits: Limits
    address_space: bool = True
    """Bound memory by the address space; else by what is mapped to be written to, of which the tool has `own_bytes`."""
    own_bytes: int = 0

    def to_bytes(self) -> bytes:
        """What the process reads from descriptor 4."""
        job = {
            "kind": self.kind,
            "files": [[path, base64.b64encode(data).decode("ascii")] for path, data in self.files.items()],
            "argv": list(self.argv),
            "env": dict(self.env),
            "collect": list(self.collect),
            "artifact_bytes": self.artifact_bytes,
        }
        return frame(job) + (b"" if self.calls is None else frame(dict(self.calls)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Executed:
    """How one such process ended."""

    exit: int
    """Exit code, or minus the signal's number; 0 for one that said it was done or that was told to end."""
    stdout: bytes = b""
    """All that was printed, up to the output limit; the error output apart from it."""
    stderr: bytes = b""
    """The end of the error output."""
    ended: Status | None = None
    """Why it was ended, where it did not end by itself: a limit, or a fault in its messages."""
    message: str = ""
    """About `ended`."""
    cpu_s: float = 0.0
    wall_s: float = 0.0
    peak_bytes: int = 0
    tier: str = ""
    """The isolation it ran in."""


class Execute(Protocol):
    """The core, as the runner sees it. Cancelling the awaiting task ends the process."""

    def __call__(self, job: ExecuteJob, on_frame: OnFrame | None = None) -> Awaitable[Executed]:
        """Run one job; raises `LaunchFailed` where the isolation fails, never for what the process did."""
        ...
