"""`POST /v1/rerank/candidates`: rank what the client already has, by the same evidence as what is sampled here."""

from __future__ import annotations

import time

from starlette.types import Receive, Scope, Send

from engine import GivenEngine
from server.asgi import headers_of, ignored_header, read_body, send_json
from server.errors import ClientGone, Stopped
from server.ids import uuid7
from server.keys.caller import caller_of
from server.served import ANSWERED
from server.service import Service
from server.translate.candidates import candidates_ask, candidates_reply
from server.translate.evidence import headers as evidence_headers
from server.wire.candidates import CandidatesRequest
from server.work import Work


class Candidates:
    """The endpoint. What it decides is logged as any exchange, but never trained on: nothing was sampled here."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        service = self._service
        with service.lifecycle.admitted():
            headers = headers_of(scope)
            wire = CandidatesRequest.model_validate_json(await read_body(receive, headers, service.config.server))
            caller = caller_of(scope)
            if wire.rerank is not None and wire.rerank.tests is not None:
                caller.require("rerank:tests", "rerank.tests")
            peer = scope["client"][0] if scope.get("client") else ""
            served = service.roster.pick(wire.model, key=headers.get("x-session-id") or peer, traffic=False)
            with served.lease():
                scope[ANSWERED].round = served.round
                defaults = caller.defaults(served.defaults)
                ask = candidates_ask(wire, headers, defaults, id=f"rrk-{uuid7()}", peer=peer).asked_by(caller)
                engine = GivenEngine(served.engine, ask.tasks[0].prompt, wire.candidates)
                work = Work(service, served, ask, engine)
                with service.live.entered(ask.id, scope[ANSWERED].request_id, owner=caller.id) as live:
                    try:
                        [ranking] = await live.run(work.rank(), receive)
                    except (ClientGone, Stopped):
                        service.metrics.cancelled(work.stage)
                        raise
                await work.record()
                reply = candidates_reply(ask, ranking, served.info, int(time.time()), engine.scored_tokens)
                await send_json(send, 200, reply, [*ignored_header(ask.ignored), *evidence_headers([ranking])])
