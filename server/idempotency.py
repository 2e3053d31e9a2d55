"""`Idempotency-Key` on the routes that sample: a request that is sent again is not run again.

Clients retry by themselves, after a timeout above all, while the first try still samples. What a keyed request answers
is kept message by message, so that whoever sends it again meanwhile, or for a while afterwards, is told the same, as a
stream if it was one. Only whole answers of 200 are kept: what failed, or broke off midway, is run anew.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.asgi import headers_of, read_body
from server.config import ServerConfig
from server.errors import ApiError, BadRequest, drained
from server.keys.caller import caller_of
from server.lifecycle import Lifecycle
from server.live import unless_gone
from server.served import ANSWERED, Answered
from server.shared_answers import Reused, SharedAnswers

GRACE_S = 10.0
"""For which a run whose clients have all gone is worked on: the longest that the official clients wait between two
tries is 8 s."""
MOST_BYTES = 32 * 1024 * 1024
"""Of answers kept; the oldest go first."""
_LONGEST_KEY = 200
_REPLAYED = (b"idempotent-replayed", b"true")

Name = tuple[str, str, bytes]
"""Path, key, and a hash of who sent it."""


class _Run:
    """One request that is worked on, or was."""

    def __init__(self, body: bytes, request_id: str) -> None:
        self.body_hash = hashlib.blake2b(body, digest_size=16).digest()
        self.messages: list[Message] = []
        self.size = 0
        self.error: BaseException | None = None
        self.task: asyncio.Task[None] | None = None
        self.ended_at: float | None = None
        self.answered = Answered(request_id=request_id)
        self.clients = 0
        self.last_left: asyncio.TimerHandle | None = None
        self.abandoned = asyncio.Event()
        self._news = asyncio.Event()

    async def send(self, message: Message) -> None:
        """Keep a message for whoever listens."""
        self.messages.append(message)
        self.size += len(message.get("body", b""))
        self.tell()

    def tell(self) -> None:
        """Wake all that listen."""
        self._news.set()
        self._news = asyncio.Event()

    async def replay(self, send: Send, answered: Answered, *, again: bool) -> None:
        """All of it, as it comes; `answered` learns who answers. Raises what the run raised."""
        told = 0
        while True:
            while told < len(self.messages):
                message = self.messages[told]
                told += 1
                if message["type"] == "http.response.start":
                    answered.round = self.answered.round
                    message = {**message, "headers": [*message["headers"], *([_REPLAYED] if again else [])]}
                await send(message)
            if self.ended_at is not None:
                break
            await self._news.wait()
        if self.error is not None:
            raise self.error


class Idempotent:
    """An ASGI endpoint around another one; requests without the header go straight through."""

    def __init__(
        self,
        endpoint: ASGIApp,
        lifecycle: Lifecycle,
        config: ServerConfig,
        now: Callable[[], float] = time.monotonic,
        shared: Callable[[], SharedAnswers | None] = lambda: None,
    ) -> None:
        self._endpoint, self._lifecycle, self._config, self._now = endpoint, lifecycle, config, now
        self._shared = shared
        self._runs: OrderedDict[Name, _Run] = OrderedDict()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if all(name != b"idempotency-key" for name, _ in scope["headers"]):
            await self._endpoint(scope, receive, send)
            return
        headers = headers_of(scope)
        key = headers["idempotency-key"]
        if not (0 < len(key) <= _LONGEST_KEY and key.isascii() and key.isprintable()):
            raise BadRequest("Idempotency-Key", f"must be 1 to {_LONGEST_KEY} printable characters", "invalid_value")
        body = await read_body(receive, headers, self._config)
        name = (scope["path"], key, _owner(headers, scope))
        self._forget()
        run = self._runs.get(name)
        if run is not None and run.abandoned.is_set():
            run = None  # it is just ending, with nothing to tell
        again = run is not None
        if run is None:
            shared = self._shared()
            if shared is not None and not caller_of(scope).keeps_text:
                shared = None  # what the others are told is kept in the database
            if shared is not None and (told := await unless_gone(receive, self._claim(shared, name, body))) is not None:
                await _retell(*told, send, scope[ANSWERED])
                return
            run = self._runs[name] = _Run(body, scope[ANSWERED].request_id)
            run.task = asyncio.create_task(self._work(name, run, scope, body, shared))
        elif run.body_hash != hashlib.blake2b(body, digest_size=16).digest():
            raise _reused()
        run.clients += 1
        if run.last_left is not None:
            run.last_left.cancel()
        try:
            await unless_gone(receive, run.replay(send, scope[ANSWERED], again=again))
        finally:
            run.clients -= 1
            if not run.clients and run.ended_at is None:
                run.last_left = asyncio.get_running_loop().call_later(GRACE_S, run.abandoned.set)

    async def _claim(self, shared: SharedAnswers, name: Name, body: bytes) -> tuple[int | None, list[Message]] | None:
        try:
            return await shared.claim(name, body)
        except Reused:
            raise _reused() from None

    async def _work(self, name: Name, run: _Run, scope: Scope, body: bytes, shared: SharedAnswers | None) -> None:
        unread = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive() -> Message:
            if unread:
                return unread.pop()
            await run.abandoned.wait()
            return {"type": "http.disconnect"}

        try:
            await self._endpoint({**scope, ANSWERED: run.answered}, receive, run.send)
        except asyncio.CancelledError:
            if not self._lifecycle.aborted:
                raise
            run.error = drained()
        except Exception as error:  # noqa: BLE001 - whoever listens raises it
            run.error = error
        finally:
            run.ended_at = self._now()
            kept = run.error is None and run.answered.complete and run.messages[0]["status"] == 200
            if self._runs.get(name) is run:
                if kept:
                    self._runs.move_to_end(name)  # in the order of their ends, so that the oldest is the first
                else:
                    del self._runs[name]
            run.tell()
            if shared is not None:
                await shared.end(name, run.answered.round, run.messages if kept else None)

    def _forget(self) -> None:
        """Let go of what is too old, and of the oldest where all is too much."""
        size = sum(run.size for run in self._runs.values() if run.ended_at is not None)
        for name, run in list(self._runs.items()):
            if run.ended_at is None:
                continue
            if size <= MOST_BYTES and self._now() - run.ended_at < self._config.idempotency_s:
                return
            size -= run.size
            del self._runs[name]


async def _retell(round: int | None, messages: list[Message], send: Send, answered: Answered) -> None:  # noqa: A002
    """What another server answered."""
    answered.round = round
    for message in messages:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message["headers"], _REPLAYED]}
        await send(message)


def _reused() -> ApiError:
    message = "Idempotency-Key: another request was sent with it"
    return ApiError(422, message, param="Idempotency-Key", code="idempotency_key_reused")


def _owner(headers: dict[str, str], scope: Scope) -> bytes:
    """Who may be told what was answered: whoever has the same secret, from the same address where there is none."""
    who = [headers.get("authorization", ""), headers.get("x-api-key", "")]
    if not any(who) and scope.get("client"):
        who = [scope["client"][0]]
    return hashlib.blake2b("\0".join(who).encode("utf-8", "surrogateescape"), digest_size=16).digest()
