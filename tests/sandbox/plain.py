"""`run_execute` in a plain process, unconfined: what the exec runner needs of the core, for trusted programs only."""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import signal
import subprocess
import sys
import tempfile
import time

from sandbox import Status
from sandbox.languages import Executed, ExecuteJob, OnFrame

# The descriptors are moved out of each other's way first.
_BOX = """
import fcntl, os, sys
from sandbox.inside.execute import run_execute
result, job = [fcntl.fcntl(int(word), fcntl.F_DUPFD, 100) for word in sys.argv[1:3]]
os.dup2(result, 3)
os.dup2(job, 4)
os.closerange(5, 1000)
run_execute(4, 3, sys.argv[3])
"""


async def execute_plainly(job: ExecuteJob, on_frame: OnFrame | None = None) -> Executed:
    """Implements `Execute` without any isolation."""
    return await asyncio.to_thread(_execute, job, on_frame)


def _execute(job: ExecuteJob, on_frame: OnFrame | None) -> Executed:
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        given, order, out, errors = (stack.enter_context(tempfile.TemporaryFile()) for _ in range(4))
        for file, data in ((given, job.stdin), (order, job.to_bytes())):
            file.write(data)
            file.seek(0)
        result, result_theirs = os.pipe()
        stack.callback(os.close, result)
        process = subprocess.Popen(
            [sys.executable, "-c", _BOX, str(result_theirs), str(order.fileno()), folder],
            stdin=given,
            stdout=out,
            stderr=errors,
            pass_fds=[result_theirs, order.fileno()],
            start_new_session=True,
        )
        os.close(result_theirs)
        began = time.monotonic()
        ended = _follow(result, job, on_frame)
        if ended in (Status.TIMEOUT_WALL, Status.PASSED):
            os.killpg(process.pid, signal.SIGKILL)
        code = process.wait()
        for file in (out, errors):
            file.seek(0)
        return Executed(
            exit=0 if ended is Status.PASSED else code,
            ended=None if ended is Status.PASSED else ended,
            stdout=out.read(),
            stderr=errors.read(),
            wall_s=time.monotonic() - began,
        )


def _follow(result: int, job: ExecuteJob, on_frame: OnFrame | None) -> Status | None:
    """Relay the frames until the channel closes (None), the process is done (passed), or out of time."""
    buffer = b""
    lap = time.monotonic()
    while True:
        left = job.limits.test_wall_s - (time.monotonic() - lap)
        if left <= 0:
            return Status.TIMEOUT_WALL
        if not select.select([result], [], [], left)[0]:
            continue
        data = os.read(result, 1 << 20)
        if not data:
            return None
        buffer += data
        while len(buffer) >= 4 and len(buffer) >= 4 + (size := int.from_bytes(buffer[:4], "big")):
            body, buffer = buffer[4 : 4 + size], buffer[4 + size :]
            now = time.monotonic()
            if not size or (on_frame is not None and not on_frame(body, 0.0, now - lap)):
                return Status.PASSED
            lap = now
