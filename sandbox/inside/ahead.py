"""Confined processes that wait for their order, forked before there is one.

A fork and a confinement take as long as a short run. So the zygote makes the processes of the next run while the server
looks at the answers of this one, alike in all that the confinement hangs on. They know nothing of any run: what they
are to do, and the descriptors for it, reach them through a socket, and they end when it closes.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from typing import Any

from sandbox.inside.confine import Setup, run_confined
from sandbox.inside.system import fork, fork_into_own_pids
from sandbox.inside.used import Children

How = tuple[str, dict[str, Any]]
"""What a confinement hangs on: the kind of the filter, and the limits."""


class Confined:
    """A confined process. `channel` and `printed` are the zygote's ends of what it answers and of what it prints.

    `status`: what /proc says of it, if it does.
    """

    def __init__(self, how: How, setup: Setup, children: Children) -> None:
        """Fork it. Raises `OSError`."""
        self.how = how
        self.status: int | None = None
        self._control, control = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.channel, channel = os.pipe()
        self.printed, printed = os.pipe()
        try:
            self.pid = fork_into_own_pids(setup.pid_namespace) if setup.pid_namespace is not None else fork()
            if self.pid == 0:
                run_confined(how, setup, [printed, printed, channel, control.fileno()])
        except OSError:
            self._close()
            raise
        finally:
            control.close()
            os.close(channel)
            os.close(printed)
        self.status = children.newest()

    def start(self, role: str, idle: int, given: dict[int, int]) -> None:
        """Tell it its role and how many others wait, and give it descriptors, by the number each is to have there.

        Raises `OSError`.
        """
        message = " ".join(map(str, (role, idle, *given)))
        try:
            with self._control:
                socket.send_fds(self._control, [message.encode()], list(given.values()))
        except BrokenPipeError as error:  # it is gone, and may have said why
            said = os.read(self.channel, 1000)[4:].decode("utf-8", "replace")
            raise OSError(error.errno, f"a process ended before it had its order {said}") from error

    def discard(self) -> None:
        """End it without an order."""
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        self._close()

    def _close(self) -> None:
        self._control.close()
        for fd in (self.channel, self.printed, self.status):
            if fd is not None:
                os.close(fd)


class Ahead:
    """The processes that wait."""

    def __init__(self, setup: Setup) -> None:
        self._setup = setup
        self._children = Children(setup.proc)
        self._waiting: list[Confined] = []
        self._last: How | None = None

    def take(self, how: How) -> Confined:
        """A process confined so: one that waits, or else a new one. Raises `OSError`."""
        for index, process in enumerate(self._waiting):
            if process.how == how:
                return self._waiting.pop(index)
        return Confined(how, self._setup, self._children)

    def left(self, how: How, count: int) -> int:
        """How many will wait when so many were taken."""
        return len(self._waiting) - min(count, sum(process.how == how for process in self._waiting))

    def fork(self, how: How, count: int) -> None:
        """See to it that so many wait, if two runs in a row were confined so."""
        again, self._last = how == self._last, how
        if self._setup.tools or not again or not count:  # beside a compiler a fork is nothing
            return
        for process in [process for process in self._waiting if process.how != how]:
            self._waiting.remove(process)
            process.discard()
        with contextlib.suppress(OSError):  # who needs one asks for it
            while len(self._waiting) < count:
                self._waiting.append(Confined(how, self._setup, self._children))

    def end(self) -> None:
        """End all that wait."""
        while self._waiting:
            self._waiting.pop().discard()
