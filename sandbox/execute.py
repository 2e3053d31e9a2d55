"""Executes tools in confined processes: the exec runner's way to the zygotes."""

from __future__ import annotations

import signal
from collections.abc import Awaitable, Callable

from sandbox.drive import WHY, Lap, limits_left
from sandbox.languages import Execute, Executed, ExecuteJob, OnFrame
from sandbox.outcome import Status
from sandbox.zygote import Box, Frame, Zygote

_OPEN_FILES = 256
_FRAMES = 8
_TAIL_BYTES = 4000


def executor(zygote: Callable[[], Awaitable[Zygote]]) -> Execute:
    """Runs each job on a zygote that may execute programs. Raises what the zygote raises."""

    async def execute(job: ExecuteJob, on_frame: OnFrame | None = None) -> Executed:
        lap, stdout, stderr = Lap(), bytearray(), bytearray()

        def take(frame: Frame) -> bool:
            spent = lap.end(frame.cpu_s, frame.wall_s)
            return on_frame is None or on_frame(frame.body, spent["cpu_s"], spent["wall_s"])

        def printed(_box: int, stream: int, data: bytes) -> None:
            if stream == 1:
                stdout.extend(data)
            else:
                stderr.extend(data)

        limits = limits_left(job.limits) | {"open_files": _OPEN_FILES}
        if not job.address_space:
            limits |= {"memory_bytes": 0, "data_bytes": job.limits.memory_bytes + job.own_bytes}
        # Of a shim that answers calls, or of a compiler's one message; a whole program has nothing to say there.
        frames = _FRAMES + (0 if job.calls is None else len(job.calls["calls"]))
        box = Box(role="execute", job=job.to_bytes(), frames=frames, filter=job.kind, errors_apart=True)
        where = await zygote()
        end = await where.run([box], limits, take, printed, job.stdin)
        done = end.boxes[0]
        ended, message = WHY[end.why] if end.why not in ("done", "exit", "stopped") else (None, "")
        if done.exit == -signal.SIGKILL and end.why == "exit" and where.out_of_memory():
            ended, message = Status.MEMORY_LIMIT, "killed by the kernel for want of memory"
        return Executed(
            exit=done.exit if end.why == "exit" else 0,
            stdout=bytes(stdout),
            stderr=bytes(stderr[-_TAIL_BYTES:]),
            ended=ended,
            message=end.message or message,
            cpu_s=done.cpu_s,
            wall_s=end.wall_s,
            peak_bytes=done.peak_bytes,
        )

    return execute
