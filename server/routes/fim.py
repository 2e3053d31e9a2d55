"""`POST /v1/fim/completions` (Mistral's) and `POST /infill` (llama.cpp's)."""

from __future__ import annotations

from starlette.types import Receive, Send

from reranker import NoCandidates, Ranking
from server.asgi import ignored_header, send_json
from server.live import Live
from server.routes.generation import Generation
from server.service import Service
from server.translate.evidence import headers as evidence_headers
from server.translate.fim import empty_fill, fim_ask, infill_ask, infill_reply
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
        extra = ignored_header(work.ask.ignored)
        try:
            rankings = await live.run(work.rank(), receive)
        except NoCandidates:
            await send_json(send, 200, empty_fill(work.ask, wire.response_fields), extra)
            return []
        await work.record()
        reply = infill_reply(work.ask, rankings[0], wire.response_fields)
        await send_json(send, 200, reply, [*extra, *evidence_headers(rankings)])
        return rankings
