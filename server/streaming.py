"""One streamed reply: tokens as they are sampled, or heartbeats and then the winner.

Nothing is sent before there is something to say, so an early error is an ordinary HTTP error; a later one is an error
event, then `[DONE]`. The exchange is on disk before the chunk that ends the last choice.

A reader that is behind holds up its own stream alone. What is sampled meanwhile waits here, at most the request's own
`max_tokens` a choice; a reader that takes nothing for `server.reader_stall_s` is dropped, and its decoding ends.
"""

from __future__ import annotations

import asyncio

from starlette.types import Receive, Send

from engine import Event, TextPiece, TokenLogprob
from reranker import Ranking
from server import sse
from server.errors import ClientGone, Stopped, drained, to_api_error
from server.live import Live
from server.service import Service
from server.translate.writers import Events
from server.work import Work

_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
]


class Stream:
    """One reply on its way out."""

    def __init__(
        self,
        service: Service,
        work: Work,
        live: Live,
        receive: Receive,
        send: Send,
        headers: list[tuple[str, str]],
        chunks: Events,
    ) -> None:
        self._service = service
        self._work = work
        self._live = live
        self._ask = work.ask
        self._receive = receive
        self._send = send
        self._headers = headers
        self._chunks = chunks
        self._begun = False
        self._wake = asyncio.Event()
        self._pieces: dict[int, list[TextPiece]] = {}

    async def run(self) -> list[Ranking]:
        """Send all of it; the rankings, none where it broke off. Raises what went wrong early, and `ClientGone`."""
        try:
            ranking = self._live.start(self._work.rank(None if self._ask.reranked else self._note), self._receive)
            ranking.add_done_callback(lambda _: self._wake.set())
            await self._follow(ranking)
            rankings = self._live.result(ranking)
            await self._finish(rankings)
        except ClientGone:
            raise
        except (Exception, asyncio.CancelledError) as error:
            if not self._begun:
                raise
            # The status line is out; all that is left is to say it in the stream's own words.
            if isinstance(error, asyncio.CancelledError):
                if not self._service.lifecycle.aborted:
                    raise
                error = drained()
            told = to_api_error(error)
            self._service.metrics.failed(told.status, told.code)
            await self._put(sse.error(told.body) + self._chunks.done, more=False)
            if isinstance(error, Stopped):
                raise ClientGone from error  # it was told; nobody is left to answer
            return []
        else:
            return rankings
        finally:
            await self._live.aclose()

    def _note(self, number: int, event: Event) -> None:
        if isinstance(event, TextPiece):
            index = number * self._ask.options.n + event.candidate
            self._pieces.setdefault(index, []).append(event)
            self._wake.set()

    async def _follow(self, ranking: asyncio.Future[list[Ranking]]) -> None:
        """Send pieces as they come and heartbeats when nothing comes, until the ranking is done or stopped."""
        while self._live.why is None:
            woken = await self._woken()
            done = ranking.done()
            if self._pieces:
                await self._put(self._taken())
            elif not woken:
                await self._put(sse.HEARTBEAT)
            if done:
                return
        await asyncio.wait((ranking,))

    async def _woken(self) -> bool:
        try:
            # Not `wait_for`: before Python 3.12 it swallows a cancellation that comes together with the wake-up.
            async with asyncio.timeout(self._service.config.server.heartbeat_s):
                await self._wake.wait()
        except TimeoutError:
            return False
        self._wake.clear()
        return True

    def _taken(self) -> bytes:
        """What came since the last time, one chunk a choice."""
        pieces, self._pieces = self._pieces, {}
        events = []
        for index, found in pieces.items():
            tokens: tuple[TokenLogprob, ...] = ()
            if self._ask.logprobs is not None:
                tokens = tuple(token for piece in found for token in piece.tokens)
            text = "".join(piece.text for piece in found)
            events += [sse.event(chunk) for chunk in self._chunks.piece(index, text, tokens)]
        return b"".join(events)

    async def _finish(self, rankings: list[Ranking]) -> None:
        await self._work.record()
        chunks = list(self._chunks.text(rankings)) if self._ask.reranked else []
        chunks += self._chunks.end(rankings)
        await self._put(b"".join(sse.event(chunk) for chunk in chunks) + self._chunks.done, more=False)

    async def _put(self, body: bytes, *, more: bool = True) -> None:
        """Send, waiting while the reader is behind. Raises `ClientGone` for one that takes nothing for too long."""
        try:
            async with asyncio.timeout(self._service.config.server.reader_stall_s):
                if not self._begun:
                    self._begun = True
                    extra = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in self._headers]
                    await self._send({"type": "http.response.start", "status": 200, "headers": _HEADERS + extra})
                await self._send({"type": "http.response.body", "body": body, "more_body": more})
        except TimeoutError:
            self._live.stop(ClientGone())
            raise ClientGone from None
