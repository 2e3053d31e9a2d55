"""`POST /v1/rerank/candidates`: rank what the client already has, by the same evidence as what is sampled here."""

from __future__ import annotations

import time

from starlette.types import Receive, Send

from engine import GivenEngine
from reranker import Ranking
from server.asgi import send_json
from server.live import Live
from server.routes.generation import Generation, notes
from server.served import Served
from server.service import Service
from server.translate.ask import Ask
from server.translate.candidates import candidates_ask, candidates_reply
from server.translate.evidence import headers as evidence_headers
from server.wire.candidates import CandidatesRequest
from server.work import Work


class Candidates(Generation[CandidatesRequest]):
    """As any other request, but nothing is sampled: logged as any exchange, it is never trained on."""

    trial = False

    def __init__(self, service: Service) -> None:
        super().__init__(service, "rrk", CandidatesRequest, candidates_ask)

    def _work_of(self, served: Served, ask: Ask, wire: CandidatesRequest) -> Work:
        return Work(self._service, served, ask, GivenEngine(served.engine, ask.tasks[0].prompt, wire.candidates))

    async def _answer(
        self, work: Work, wire: CandidatesRequest, live: Live, receive: Receive, send: Send
    ) -> list[Ranking]:
        rankings = await live.run(work.rank(), receive)
        await work.record()
        [ranking] = rankings
        assert isinstance(work.engine, GivenEngine)  # noqa: S101 - as `_work_of` made it
        reply = candidates_reply(work.ask, ranking, work.served.info, int(time.time()), work.engine.scored_tokens)
        await send_json(send, 200, reply, [*notes(work.ask), *evidence_headers(rankings)])
        return rankings
