"""The box of the other languages: writes a program's files into its own `/tmp`, then compiles or becomes the program.

Nothing here is trusted once a tool has seen the source: what it says is the candidate's word, and no expected value is
ever in this process. The job is one frame; what follows it in the same descriptor is left for the program to read.
"""

from __future__ import annotations

import base64
import contextlib
import os
import signal
import stat
from typing import Any

from sandbox.inside.codec import read_frame, write_frame

_SAID_BYTES = 4000
"""Of what a compiler says, this much is sent: the first half, where the first error is, and the last."""

_READ_BYTES = 1 << 20
_CANNOT_START = 127


def run_execute(job_fd: int, result_fd: int, folder: str = "/tmp") -> None:  # noqa: S108  the run's own
    """Do the job: `{"kind", "files", "argv", "env", "collect", "artifact_bytes"}`, files as pairs of path and base64.

    Kind `run` becomes `argv` and does not return. Kind `compile` starts `argv`, waits for it and sends one message,
    `{"exit", "output", "artifact"}` (paths to base64; `too_big` in its place), and the empty frame that ends the talk.
    Raises `ValueError` for a path that leaves the folder, `OSError` where the folder is full.
    """
    job = read_frame(job_fd)
    if job is None:
        return
    os.chdir(folder)
    for path, text in job["files"]:
        put_file(path, base64.b64decode(text))
    if job["kind"] == "compile":
        write_frame(result_fd, _compile(job))
        os.write(result_fd, bytes(4))
        return
    _become(job["argv"], job["env"])


def stays_inside(path: str) -> bool:
    """Whether a path names something below the folder it is taken from, without detours."""
    parts = path.split("/")
    return "\0" not in path and all(part not in ("", ".", "..") for part in parts)


def put_file(path: str, data: bytes) -> None:
    """Make a file below the current folder. Raises `ValueError` for a path that leaves it, and `OSError`."""
    if not stays_inside(path):
        raise ValueError(f"{path!r} is not a plain relative path")
    if "/" in path:
        os.makedirs(os.path.dirname(path), exist_ok=True)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o700)  # a compiled program is run
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]
    finally:
        os.close(fd)


def _become(argv: list[str], env: dict[str, str]) -> None:
    # CPython ignores these two, and what is ignored stays so across exec: a program would spin on a closed pipe.
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    try:
        os.execve(argv[0], argv, env)  # noqa: S606  the purpose of this process
    except OSError as error:
        with contextlib.suppress(OSError):
            os.write(2, f"{argv[0]}: {error.strerror}\n".encode())
        os._exit(_CANNOT_START)


def _compile(job: dict[str, Any]) -> dict[str, Any]:
    said = os.open(".said", os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    os.unlink(".said")
    null = os.open("/dev/null", os.O_RDONLY)
    actions: list[tuple[int, ...]] = [
        (os.POSIX_SPAWN_DUP2, null, 0),
        (os.POSIX_SPAWN_DUP2, said, 1),
        (os.POSIX_SPAWN_DUP2, said, 2),
    ]
    # The tool gets no channel to the server: its result is a file, and this process sends it.
    actions += [(os.POSIX_SPAWN_CLOSE, fd) for fd in (3, 4) if _is_open(fd)]
    argv, ours = job["argv"], (signal.SIGPIPE, signal.SIGXFSZ)
    try:
        pid = os.posix_spawn(argv[0], argv, job["env"], file_actions=actions, setsigdef=ours)
    except OSError as error:
        return {"exit": _CANNOT_START, "output": f"{argv[0]}: {error.strerror}", "artifact": {}}
    _, status = os.waitpid(pid, 0)
    answer: dict[str, Any] = {"exit": os.waitstatus_to_exitcode(status), "output": _ends_of(said), "artifact": {}}
    if answer["exit"] == 0:
        answer.update(_collect(job["collect"], job["artifact_bytes"]))
    return answer


def _is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


def _ends_of(fd: int) -> str:
    size, half = os.fstat(fd).st_size, _SAID_BYTES // 2
    if size <= _SAID_BYTES:
        return os.pread(fd, size, 0).decode("utf-8", "replace")
    first, last = (os.pread(fd, half, at).decode("utf-8", "replace") for at in (0, size - half))
    return f"{first}\n[...]\n{last}"


def _collect(paths: list[str], most_bytes: int) -> dict[str, Any]:
    """What a tool made: the regular files at and below the paths. `too_big` holds their size where it is over."""
    found: dict[str, str] = {}
    total = 0
    for path in _files_below(paths):
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            facts = os.fstat(fd)
            if not stat.S_ISREG(facts.st_mode):
                continue
            total += facts.st_size
            if total > most_bytes:
                return {"too_big": total}
            parts = []
            while part := os.read(fd, _READ_BYTES):
                parts.append(part)
        finally:
            os.close(fd)
        found[path] = base64.b64encode(b"".join(parts)).decode("ascii")
    return {"artifact": found}


def _files_below(paths: list[str]) -> list[str]:
    found = []
    for path in paths:
        if not os.path.isdir(path) or os.path.islink(path):
            found += [path] if os.path.lexists(path) and not os.path.islink(path) else []
            continue
        for folder, _, names in os.walk(path):
            found += [os.path.join(folder, name) for name in sorted(names)]
    return [path for path in found if not os.path.islink(path)]
