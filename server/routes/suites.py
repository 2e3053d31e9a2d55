"""`POST /v1/suites`, `GET /v1/suites`, `GET /v1/suites/{id}`: tests kept by content hash, to be named in requests."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from starlette.types import Receive, Scope, Send

from feedback import NOBODY, Exchange, StoredSuite, without_verdicts
from sandbox import AssertSuite, InvalidSuite, suite_hash, suite_tests
from server.asgi import headers_of, read_body, send_json
from server.errors import BadRequest, NotFound
from server.keys.caller import Caller, caller_of
from server.service import Service
from server.wire.base import Asks, TestsFields
from server.wire.suites import SuiteRequest


class Suites:
    """Stores one, lists those that may be used, or shows one. A hidden one's code is never shown."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._service.lifecycle.admitted():
            caller = caller_of(scope)
            if scope["method"] == "POST":
                await self._store(scope, caller, receive, send)
            elif (name := scope["path_params"].get("id")) is not None:
                await send_json(send, 200, _shown(await _found(self._service, name, caller), caller, whole=True))
            else:
                suites = await self._service.store.suites(caller.id or NOBODY)
                data = [_shown(suite, caller, whole=False) for suite in suites]
                await send_json(send, 200, {"object": "list", "data": data})

    async def _store(self, scope: Scope, caller: Caller, receive: Receive, send: Send) -> None:
        service = self._service
        if not caller.keeps_text:
            raise BadRequest("code", "this key's privacy keeps no text, and a suite is text", code="no_text")
        body = await read_body(receive, headers_of(scope), service.config.server, caller.body_limit)
        wire = SuiteRequest.model_validate_json(body)
        try:
            await asyncio.to_thread(suite_tests, wire.code)
        except InvalidSuite as error:
            raise BadRequest("code", str(error), code="invalid_suite") from error
        suite = StoredSuite(
            id=suite_hash(AssertSuite(wire.code)),
            owner=caller.id or NOBODY,
            created_at=datetime.now(UTC),
            code=wire.code,
            entry_point=wire.entry_point,
            visible=wire.visible,
            public=wire.public,
        )
        new = await service.store.put_suite(suite)
        await send_json(send, 201 if new else 200, _shown(suite, caller, whole=False))


async def with_stored(service: Service, wire: Asks, caller: Caller) -> None:
    """Put the suite that `rerank.tests.suite_id` names in its place in the request.

    Raises `NotFound` (404) where this caller has none of that name, `BadRequest` where the request says otherwise.
    """
    tests = None if wire.rerank is None else wire.rerank.tests
    if wire.rerank is None or tests is None or tests.suite_id is None:
        return
    if tests.code is not None:
        raise BadRequest("rerank.tests.suite_id", "give it or code, not both", code="conflict")
    suite = await _found(service, tests.suite_id, caller, param="rerank.tests.suite_id")
    if "visible" in tests.model_fields_set and tests.visible != suite.visible:
        raise BadRequest("rerank.tests.visible", "the stored suite says otherwise", code="conflict")
    filled: dict[str, Any] = {
        "code": suite.code,
        "visible": suite.visible,
        "entry_point": tests.entry_point or suite.entry_point,
    }
    fields: TestsFields = tests.model_copy(update=filled)
    wire.rerank = wire.rerank.model_copy(update={"tests": fields})


def without_hidden(exchange: Exchange) -> Exchange:
    """An exchange as a reply may show it: of a hidden suite neither the tests nor what they said of a candidate."""
    if exchange.suite is None or exchange.suite.get("visible", True):
        return exchange
    return without_verdicts(replace(exchange, suite={**exchange.suite, "body": None}))


async def _found(service: Service, name: str, caller: Caller, param: str = "id") -> StoredSuite:
    suite = await service.store.suite(name, caller.id or NOBODY)
    if suite is None:
        raise NotFound(f"there is no suite {name!r}", param=param, code="unknown_suite")
    return suite


def _shown(suite: StoredSuite, caller: Caller, *, whole: bool) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "id": suite.id,
        "object": "suite",
        "created": int(suite.created_at.timestamp()),
        "language": "python",
        "entry_point": suite.entry_point,
        "visible": suite.visible,
        "public": suite.public,
        "own": suite.owner == (caller.id or NOBODY),
        "bytes": len(suite.code.encode("utf-8", "surrogatepass")),
    }
    return {**shown, "code": suite.code} if whole and suite.visible else shown
