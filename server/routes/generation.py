"""`POST /v1/completions` and `POST /v1/chat/completions`: one endpoint, two dialects."""

from __future__ import annotations

import time
from typing import Protocol

from starlette.types import Receive, Scope, Send

from server.asgi import headers_of, read_body, send_json, unless_gone
from server.errors import ClientGone
from server.ids import uuid7
from server.service import Service
from server.streaming import Stream
from server.translate.ask import Ask
from server.translate.chat import chat_ask
from server.translate.completions import completion_ask
from server.translate.defaults import Defaults, Headers
from server.translate.evidence import headers as evidence_headers
from server.translate.reply import plain_reply
from server.wire.chat import ChatRequest
from server.wire.completions import CompletionRequest
from server.work import Work


class Understand(Protocol):
    """From body to ask."""

    def __call__(self, body: bytes, headers: Headers, defaults: Defaults, *, id: str, peer: str) -> Ask: ...  # noqa: A002


class Generation:
    """An ASGI endpoint that samples, chooses and answers."""

    def __init__(self, service: Service, prefix: str, understand: Understand) -> None:
        self._service = service
        self._prefix = prefix
        self._understand = understand

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        service = self._service
        with service.lifecycle.admitted():
            headers = headers_of(scope)
            body = await read_body(receive, headers, service.config.server.body_limit_bytes)
            peer = scope["client"][0] if scope.get("client") else ""
            ask = self._understand(body, headers, service.defaults, id=f"{self._prefix}-{uuid7()}", peer=peer)
            work = Work(service, ask)
            try:
                await self._answer(work, receive, send)
            except ClientGone:
                service.metrics.cancelled(work.stage)
                await work.record()

    async def _answer(self, work: Work, receive: Receive, send: Send) -> None:
        ask, extra = work.ask, []
        if ask.ignored:
            extra.append(("x-touchstone-ignored", _header_text(", ".join(ask.ignored))))
        if ask.stream:
            await Stream(self._service, work, receive, send, extra).run()
            return
        rankings = await unless_gone(receive, work.rank())
        await work.record()
        reply = plain_reply(ask, rankings, self._service.defaults.info, int(time.time()))
        await send_json(send, 200, reply, [*extra, *evidence_headers(rankings)])


def completions(service: Service) -> Generation:
    """`POST /v1/completions`."""

    def understand(body: bytes, headers: Headers, defaults: Defaults, *, id: str, peer: str) -> Ask:  # noqa: A002
        return completion_ask(CompletionRequest.model_validate_json(body), headers, defaults, id=id, peer=peer)

    return Generation(service, "cmpl", understand)


def chat(service: Service) -> Generation:
    """`POST /v1/chat/completions`."""

    def understand(body: bytes, headers: Headers, defaults: Defaults, *, id: str, peer: str) -> Ask:  # noqa: A002
        return chat_ask(ChatRequest.model_validate_json(body), headers, defaults, id=id, peer=peer)

    return Generation(service, "chatcmpl", understand)


def _header_text(text: str) -> str:
    """Text a header may carry: keys come from the client and may hold anything."""
    return text.encode("ascii", "backslashreplace").decode("ascii").replace("\r", "").replace("\n", "")[:1000]
