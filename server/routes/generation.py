"""`POST /v1/completions` and `POST /v1/chat/completions`: one endpoint, two dialects."""

from __future__ import annotations

import time
from typing import Generic, Protocol, TypeVar

from starlette.types import Receive, Scope, Send

from engine import Priority
from reranker import Ranking
from server.asgi import headers_of, ignored_header, read_body, send_json
from server.errors import ClientGone, Stopped
from server.ids import uuid7
from server.keys.caller import caller_of
from server.live import Live
from server.overload import refuse_by_ask, refuse_by_head
from server.routes.suites import with_stored
from server.served import ANSWERED, Served
from server.service import Service
from server.streaming import Stream
from server.tokens import fitted
from server.translate.ask import Ask
from server.translate.chat import chat_ask
from server.translate.completions import completion_ask
from server.translate.defaults import Defaults, Headers
from server.translate.evidence import headers as evidence_headers
from server.translate.reply import Chunks, plain_reply
from server.wire.base import Asks
from server.wire.chat import ChatRequest
from server.wire.completions import CompletionRequest
from server.work import Work

W = TypeVar("W", bound=Asks)
W_contra = TypeVar("W_contra", bound=Asks, contravariant=True)


class Understand(Protocol[W_contra]):
    """From wire to ask."""

    def __call__(self, wire: W_contra, headers: Headers, defaults: Defaults, *, id: str, peer: str) -> Ask: ...  # noqa: A002


class Generation(Generic[W]):
    """An ASGI endpoint that samples, chooses and answers."""

    trial = True
    """Whether a challenger may answer, or answer beside the champion unseen."""

    def __init__(
        self,
        service: Service,
        prefix: str,
        wire: type[W],
        understand: Understand[W],
        most_urgent: Priority = Priority.AS_YOU_TYPE,
    ) -> None:
        self._service = service
        self._most_urgent = most_urgent
        self._prefix = prefix
        self._wire = wire
        self._understand = understand

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        service = self._service
        with service.lifecycle.admitted():
            headers = headers_of(scope)
            caller = caller_of(scope)
            refuse_by_head(service, caller, headers, self._most_urgent)
            body = await read_body(receive, headers, service.config.server, caller.body_limit)
            wire = self._wire.model_validate_json(body)
            if wire.rerank is not None and wire.rerank.tests is not None:
                caller.require("rerank:tests", "rerank.tests")
                await with_stored(service, wire, caller)
            peer = scope["client"][0] if scope.get("client") else ""
            key = headers.get("x-session-id") or peer
            traffic = self.trial and headers.get("x-purpose", "traffic") == "traffic"
            served = service.roster.pick(wire.model, key=key, traffic=traffic)
            with served.lease():
                scope[ANSWERED].round = served.round
                defaults = caller.defaults(served.defaults)
                ask = self._understand(wire, headers, defaults, id=f"{self._prefix}-{uuid7()}", peer=peer)
                ask = await fitted(ask, served)
                if not ask.return_all:
                    caller.check_choices(ask.options.n)
                work = self._work_of(served, ask.asked_by(caller), wire)
                refuse_by_ask(work.engine, work.ask)
                request_id = scope[ANSWERED].request_id
                with service.live.entered(ask.id, request_id, owner=caller.id, session=_replaces(ask)) as live:
                    scope[ANSWERED].complete = await self._work(work, wire, live, receive, send)
                if not ask.stream:
                    scope[ANSWERED].ranking_s = work.ranking_s

    def _work_of(self, served: Served, ask: Ask, wire: W) -> Work:
        return Work(self._service, served, ask)

    async def _work(self, work: Work, wire: W, live: Live, receive: Receive, send: Send) -> bool:
        """Answer; whether all of it was said."""
        try:
            rankings = await self._answer(work, wire, live, receive, send)
        except (ClientGone, Stopped) as error:
            self._service.metrics.cancelled(work.stage)
            await work.record()
            if isinstance(error, Stopped):
                raise
            return False
        if self.trial and self._service.shadows is not None:
            self._service.shadows.offer(work.ask, rankings, work.served)
        return bool(rankings)

    async def _answer(self, work: Work, wire: W, live: Live, receive: Receive, send: Send) -> list[Ranking]:
        """Do the work and send the reply in the route's dialect; what was decided, nothing where it broke off."""
        ask = work.ask
        extra = notes(ask)
        created = int(time.time())
        if ask.stream:
            chunks = Chunks(ask, work.served.info, created)
            return await Stream(self._service, work, live, receive, send, extra, chunks).run()
        rankings = await live.run(work.rank(), receive)
        await work.record()
        reply = plain_reply(ask, rankings, work.served.info, created)
        await send_json(send, 200, reply, [*extra, *evidence_headers(rankings)])
        return rankings


def completions(service: Service) -> Generation[CompletionRequest]:
    """`POST /v1/completions`."""
    return Generation(service, "cmpl", CompletionRequest, completion_ask)


def chat(service: Service) -> Generation[ChatRequest]:
    """`POST /v1/chat/completions`."""
    return Generation(service, "chatcmpl", ChatRequest, chat_ask, Priority.INTERACTIVE)


def notes(ask: Ask) -> list[tuple[str, str]]:
    """Headers that say what was done with a request beyond what it asks."""
    found = ignored_header(ask.ignored)
    if ask.normalised:
        found.append(("x-fim-normalized", ask.normalised))
    if ask.truncated:
        found.append(("x-fim-truncated", ", ".join(ask.truncated)))
    return found


def _replaces(ask: Ask) -> tuple[str, str] | None:
    """What an as-you-type request of a session takes the place of: the one before it, which nobody waits for."""
    session = ask.client.session_id
    return (session, ask.route) if session is not None and ask.options.priority is Priority.AS_YOU_TYPE else None
