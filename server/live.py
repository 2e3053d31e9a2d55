"""Requests under way, which others may stop: the client by hanging up, the cancel route, a newer one of their session.

Stopping cancels the one task that does all of a request's work; its queue entry, decoding, sandbox runs and verifier
are under that task and end with it. All on the event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, TypeVar

from starlette.types import Receive

from server.asgi import cancel, gone
from server.errors import ClientGone, Stopped

T = TypeVar("T")


class Live:
    """One request under way. `owner` is the key it came with; None where there are no keys."""

    def __init__(self, id: str, request_id: str, owner: str | None, on_stopped: Callable[[float], None]) -> None:  # noqa: A002 - the API's word
        self.id = id
        self.request_id = request_id
        self.owner = owner
        self.why: Stopped | ClientGone | None = None
        """Why it was stopped; None: it was not."""
        self._on_stopped = on_stopped
        self._stopped_s = 0.0
        self._work: asyncio.Future[Any] | None = None
        """Done when the work is."""
        self._task: asyncio.Future[Any] | None = None
        """What is cancelled to end it."""
        self._watcher: asyncio.Future[None] | None = None

    def start(self, work: Coroutine[Any, Any, T], receive: Receive) -> asyncio.Future[T]:
        """Do the work until it is done or stopped; whoever starts it calls `aclose`. The body must have been read."""
        task = asyncio.ensure_future(work)
        self._begin(task, task, receive)
        if self.why is not None:  # while it was being understood
            task.cancel()
        return task

    def result(self, task: asyncio.Future[T]) -> T:
        """What the work came to. Raises what stopped it: `Stopped`, `ClientGone`, or its own error."""
        if task.cancelled() and self.why is not None:
            raise self.why
        return task.result()

    async def run(self, work: Coroutine[Any, Any, T], receive: Receive) -> T:
        """The same from beginning to end, in the caller's own task, which stops with it. Raises as `result`."""
        if self.why is not None:
            work.close()
            raise self.why
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a request is always a task
        done = asyncio.get_running_loop().create_future()
        self._begin(done, task, receive)
        try:
            return await work
        except asyncio.CancelledError:
            if self.why is None or task.cancelling() > 1:  # by others, too
                raise
            raise self.why from None
        finally:
            done.set_result(None)
            if self.why is not None:
                task.uncancel()  # `stop` did it, and is answered
            if self._watcher is not None:
                self._watcher.cancel()

    def _begin(self, work: asyncio.Future[Any], task: asyncio.Future[Any], receive: Receive) -> None:
        self._work, self._task = work, task
        work.add_done_callback(self._ended)
        self._watcher = asyncio.ensure_future(gone(receive))
        self._watcher.add_done_callback(lambda watcher: None if watcher.cancelled() else self.stop(ClientGone()))

    def stop(self, why: Stopped | ClientGone) -> None:
        """End its work, if there is any left to end; the first reason given counts."""
        if self.why is not None or (self._work is not None and self._work.done()):
            return
        self.why = why
        self._stopped_s = time.perf_counter()
        if self._task is not None:
            self._task.cancel()

    async def aclose(self) -> None:
        """End what is left, and wait until it has let go of everything."""
        await cancel(*(task for task in (self._work, self._watcher) if task is not None))

    async def over(self) -> None:
        """Wait until its work has let go of everything; the reply may still be on its way."""
        if self._work is not None:
            await asyncio.wait((self._work,))

    def _ended(self, _: asyncio.Future[Any]) -> None:
        if self.why is not None:
            self._on_stopped(time.perf_counter() - self._stopped_s)


async def unless_gone(receive: Receive, work: Coroutine[Any, Any, T]) -> T:
    """Do work that nothing else may stop: it ends, and this raises `ClientGone`, when the client goes away first."""
    return await Live("", "", None, lambda _: None).run(work, receive)


class LiveRequests:
    """All of this process."""

    def __init__(self, on_stopped: Callable[[float], None]) -> None:
        self._all: dict[str, Live] = {}
        self._sessions: dict[tuple[str | None, str, str], Live] = {}
        self._on_stopped = on_stopped
        """Told the seconds from a stop to the end of all work, of each request that was stopped."""

    @contextlib.contextmanager
    def entered(
        self,
        id: str,  # noqa: A002 - the API's word
        request_id: str,
        *,
        owner: str | None = None,
        session: tuple[str, str] | None = None,
    ) -> Iterator[Live]:
        """Count a request as under way; with a `session`, in place of the older one of the same, which is stopped.

        `session` is a session and a kind of request, for requests that only the newest of is waited for.
        """
        live = Live(id, request_id, owner, self._on_stopped)
        key = None if session is None else (owner, *session)
        if key is not None and (older := self._sessions.get(key)) is not None:
            older.stop(superseded())
        self._all[id] = live
        if key is not None:
            self._sessions[key] = live
        try:
            yield live
        finally:
            del self._all[id]
            if key is not None and self._sessions.get(key) is live:
                del self._sessions[key]

    def find(self, name: str, owner: str | None) -> list[Live]:
        """The owner's requests with this reply id or this `X-Request-Id`; clients may give several the same."""
        return [live for live in self._all.values() if name in (live.id, live.request_id) and live.owner == owner]

    async def cancel(self, name: str, owner: str | None, why: Stopped) -> list[str]:
        """Stop those that `find` finds; once nothing of them is left, the ids of those that had not ended before."""
        found = self.find(name, owner)
        for live in found:
            live.stop(why)
        await asyncio.gather(*(live.over() for live in found))
        return [live.id for live in found if live.why is not None]


def superseded() -> Stopped:
    """What an as-you-type request is told when its session has typed on."""
    return Stopped("a newer request of the same session took its place", "superseded")


def by_request() -> Stopped:
    """What a request is told that the cancel route ended."""
    return Stopped("it was cancelled by POST /v1/requests/{id}/cancel", "cancelled")
