"""`POST /v1/fim/completions` (Mistral's), `POST /infill` and `GET /props` (llama.cpp's)."""

from __future__ import annotations

from typing import Any

from starlette.types import Receive, Scope, Send

from engine import touchstone_version
from reranker import NoCandidates, Ranking
from server import sse
from server.asgi import send_bytes, send_json
from server.live import Live
from server.routes.generation import Generation, notes
from server.service import Service
from server.streaming import Stream
from server.translate.evidence import headers as evidence_headers
from server.translate.fim import InfillEvents, empty_fill, fim_ask, infill_ask, infill_reply
from server.wire.fim import FimRequest, InfillRequest
from server.work import Work


def fim(service: Service) -> Generation[FimRequest]:
    """`POST /v1/fim/completions`."""
    return Generation(service, "fim", FimRequest, fim_ask)


class Infill(Generation[InfillRequest]):
    """`POST /infill`: as any other request, answered in llama.cpp's words."""

    def __init__(self, service: Service) -> None:
        super().__init__(service, "infill", InfillRequest, infill_ask)

    async def _answer(self, work: Work, wire: InfillRequest, live: Live, receive: Receive, send: Send) -> list[Ranking]:
        try:
            if wire.n_predict != 0:
                return await self._fill(work, wire, live, receive, send)
        except NoCandidates:
            pass  # the editor's time was over before the first token: to it that is no error
        empty = empty_fill(work.ask, wire.response_fields)
        if work.ask.stream:
            await send_bytes(send, 200, sse.event(empty), "text/event-stream; charset=utf-8", notes(work.ask))
        else:
            await send_json(send, 200, empty, notes(work.ask))
        return []

    async def _fill(self, work: Work, wire: InfillRequest, live: Live, receive: Receive, send: Send) -> list[Ranking]:
        ask, extra = work.ask, notes(work.ask)
        if ask.stream:
            events = InfillEvents(ask, wire.response_fields)
            return await Stream(self._service, work, live, receive, send, extra, events).run()
        rankings = await live.run(work.rank(), receive)
        await work.record()
        reply = infill_reply(ask, rankings[0], wire.response_fields)
        await send_json(send, 200, reply, [*extra, *evidence_headers(rankings)])
        return rankings


class Props:
    """`GET /props`: what llama.cpp's clients ask of the model. Raises `Unavailable` (503) while there is none."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        served = self._service.roster.current
        info, defaults = served.info, served.defaults
        body: dict[str, Any] = {
            "default_generation_settings": {
                "n_ctx": info.context_length,
                "params": {"n_predict": defaults.max_tokens_fim, "temperature": 1.0, "top_p": 1.0, "stream": False},
            },
            "model_alias": info.model,
            "model_path": served.id or info.model,
            "modalities": {"vision": False, "audio": False},
            "fim": info.fim,
            "build_info": f"touchstone-{touchstone_version()}",
        }
        await send_json(send, 200, body)
