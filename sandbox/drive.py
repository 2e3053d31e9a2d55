"""One run of one program: the zygote it has, what it may still use, what it came to so far."""

from __future__ import annotations

import signal
from dataclasses import replace
from typing import Any

from sandbox.outcome import Outcome, Status
from sandbox.types import MAX_SOURCE_BYTES, Limits, Program
from sandbox.zygote import Box, End, Printed, Take, Zygote

_TAIL_BYTES = 2000
_OPEN_FILES = 64
_MOST_US = 10**12

WHY = {
    "timeout_cpu": (Status.TIMEOUT_CPU, "out of CPU time"),
    "timeout_wall": (Status.TIMEOUT_WALL, "out of wall time"),
    "output_limit": (Status.OUTPUT_LIMIT, "printed more than the output limit"),
    "protocol_error": (Status.PROTOCOL_ERROR, ""),
    "done": (Status.PROTOCOL_ERROR, "ended before it had answered everything"),
}


class Drive:
    """The attempts of one run on one zygote, under one set of limits for all of them together."""

    def __init__(self, zygote: Zygote, limits: Limits, *, profile: str = "bare") -> None:
        self.limits = limits
        self.profile = profile
        self.cpu_s = 0.0
        """CPU seconds of the candidate so far."""
        self.wall_s = 0.0
        self._zygote = zygote
        self._peak_bytes = 0
        self._timeouts = 0
        self._printed = bytearray()

    async def attempt(
        self, boxes: list[Box], take: Take, *, printed: Printed | None = None, stdin: bytes | None = None
    ) -> End:
        """Start processes, the candidate first, and see them through. Raises `LaunchFailed`."""
        end = await self._zygote.run(boxes, self._left(), take, printed or self._keep, stdin)
        candidate = end.boxes[0]
        self.cpu_s += candidate.cpu_s
        self.wall_s += end.wall_s
        self._peak_bytes = max(self._peak_bytes, candidate.peak_bytes)
        return end

    def why(self, end: End) -> tuple[Status, str]:
        """What an attempt came to that ended before it was done."""
        if end.why in WHY:
            status, message = WHY[end.why]
            return status, end.message or message
        code = end.boxes[0].exit
        if code >= 0:
            return Status.EARLY_EXIT, f"exited with code {code} before answering"
        if code == -signal.SIGKILL:
            if end.boxes[0].cpu_s >= self.limits.cpu_s:
                return Status.TIMEOUT_CPU, f"used its {self.limits.cpu_s} s of CPU"
            if self._zygote.out_of_memory():
                return Status.MEMORY_LIMIT, "killed by the kernel for want of memory"
            return Status.EARLY_EXIT, "closed its result channel"
        return Status.KILLED, f"killed by {_signal_name(-code)}"

    def may_go_on(self, status: Status) -> bool:
        """Whether the tests after one that ended so are tried in a fresh process."""
        if status not in (Status.TIMEOUT_CPU, Status.TIMEOUT_WALL) or self.limits.stop_on_failure:
            return False
        self._timeouts += 1
        left = self._left()
        return self._timeouts < self.limits.max_timeouts and left["cpu_s"] > 0 and left["wall_s"] > 0

    def finish(self, outcome: Outcome) -> Outcome:
        """The outcome with what it cost."""
        peak = self._peak_bytes or None
        return replace(outcome, cpu_s=self.cpu_s, wall_s=self.wall_s, peak_memory_bytes=peak)

    def take_tail(self, count: Any = None) -> str:
        """The end of what was printed since the last time: of so many bytes, where the candidate says how many."""
        if type(count) is not int or count < 0:
            count = len(self._printed)
        part = self._printed[:count]
        del self._printed[:count]
        return part[-_TAIL_BYTES:].decode("utf-8", "replace")

    def _keep(self, _box: int, _stream: int, data: bytes) -> None:
        self._printed += data  # bounded by the output limit

    def _left(self) -> dict[str, Any]:
        return limits_left(self.limits, self.cpu_s, self.wall_s)


def limits_left(limits: Limits, cpu_s: float = 0.0, wall_s: float = 0.0) -> dict[str, Any]:
    """The limits as a zygote takes them, less what was used already."""
    return {
        "cpu_s": limits.cpu_s - cpu_s,
        "wall_s": limits.wall_s - wall_s,
        "test_cpu_s": limits.busy_test_s,
        "test_wall_s": limits.test_wall_s,
        "memory_bytes": limits.memory_bytes,
        "group_bytes": limits.memory_bytes,
        "output_bytes": limits.output_bytes,
        "file_bytes": limits.file_bytes,
        "processes": limits.processes,
        "open_files": _OPEN_FILES,
    }


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # one of the real-time signals
        return f"signal {number}"


class Lap:
    """The CPU and wall seconds between one frame and the next."""

    def __init__(self) -> None:
        self._seen = (0.0, 0.0)
        self._left = (0.0, 0.0)

    def end(self, cpu_s: float, wall_s: float, claimed_us: Any = None) -> dict[str, Any]:
        """End a test and begin the next; the seconds of the one that ended, as fields of a `TestOutcome`.

        The times are the zygote's, which looks now and then and may find several tests done. `claimed_us` is what the
        process itself says of this one, in wall microseconds: it only divides what was really used, CPU time like wall.
        """
        self._left = (
            self._left[0] + max(0.0, cpu_s - self._seen[0]),
            self._left[1] + max(0.0, wall_s - self._seen[1]),
        )
        self._seen = (cpu_s, wall_s)
        spent = self._left
        if type(claimed_us) is int:
            claimed_s = min(max(0, claimed_us), _MOST_US) / 1e6
            spent = (min(spent[0], claimed_s), min(spent[1], claimed_s))
        self._left = (self._left[0] - spent[0], self._left[1] - spent[1])
        return {"cpu_s": spent[0], "wall_s": spent[1]}

    def rest(self, end: End) -> dict[str, Any]:
        """The same for the test during which everything ended."""
        return self.end(sum(box.cpu_s for box in end.boxes), end.wall_s)


SCRIPT = "solution.py"
"""What a program's own source is called where another file is run."""


def job_of(program: Program) -> dict[str, Any]:
    """What a candidate's process is told of the program, whose functions are called."""
    files = {"files": [list(pair) for pair in program.files]} if program.files else {}
    return {"source": program.source, **files}


def script_of(program: Program) -> dict[str, Any]:
    """The same of a program that runs as a whole: the file that its entry point names is run, else its own source."""
    given = dict(program.files)
    if program.entry_point not in given:
        return job_of(program)
    files = [*program.files, (SCRIPT, program.source)]
    return {"source": given[program.entry_point], "files": [list(pair) for pair in files]}


def too_long(program: Program) -> bool:
    """Whether the source is larger than is parsed at all."""
    texts = (program.source, *(text for _, text in program.files))
    return sum(len(text.encode("utf-8", "surrogatepass")) for text in texts) > MAX_SOURCE_BYTES


def load_failure(answer: dict[str, Any]) -> tuple[Status, str] | None:
    """What the answer to loading says went wrong; None when it loaded."""
    if isinstance(answer.get("does_not_compile"), dict):
        return Status.COMPILE_ERROR, said(answer["does_not_compile"])
    if isinstance(answer.get("does_not_load"), dict):
        return raised_status(answer["does_not_load"]), said(answer["does_not_load"])
    if answer.get("loaded") is not True:
        return Status.PROTOCOL_ERROR, "an unknown answer to loading"
    return None


def raised_status(answer: dict[str, Any]) -> Status:
    """The status of an exception that left the candidate."""
    return Status.MEMORY_LIMIT if answer.get("base") == "MemoryError" else Status.RUNTIME_ERROR


def text(value: Any, cap: int = 200) -> str | None:
    """A short text out of an untrusted message; None for anything else."""
    return value[:cap] if type(value) is str else None


def said(answer: dict[str, Any]) -> str:
    """An exception as one line."""
    return f"{text(answer.get('raised')) or 'Exception'}: {text(answer.get('message')) or ''}"
