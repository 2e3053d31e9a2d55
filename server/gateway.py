"""The one middleware: request ids, evidence headers, errors as JSON, durations. Pure ASGI around the router.

`BaseHTTPMiddleware` and exception handlers by class would cost a task and several wrappers a request; this is one
function.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server import logs
from server.asgi import send_bytes, send_json
from server.errors import ApiError, ClientGone, drained, to_api_error
from server.hosts import Hosts
from server.ids import uuid7
from server.keys.caller import ANY, CALLER, Caller, scope_of
from server.origins import Origins
from server.served import ANSWERED, Answered
from server.service import Service

if TYPE_CHECKING:
    from server.telemetry.traces import Request

_REQUEST_ID = re.compile(rb"[\x21-\x7e]{1,128}")
_PATTERNS = (
    (re.compile(r"/v1/models/.+"), "/v1/models/{id}"),
    (re.compile(r"/v1/suites/[^/]+"), "/v1/suites/{id}"),
    (re.compile(r"/v1/rerank/[^/]+"), "/v1/rerank/{id}"),
    (re.compile(r"/v1/requests/[^/]+/cancel"), "/v1/requests/{id}/cancel"),
)


_UNCOUNTED = contextlib.nullcontext()


class Gateway:
    """An ASGI app around the routes."""

    def __init__(self, service: Service, router: ASGIApp, paths: Mapping[str, BaseRoute]) -> None:
        """`paths`: the router's routes whose path is always the same."""
        self._service = service
        self._router = router
        self._paths = paths
        self._origins = Origins(service.config.server.cors_origins)
        self._hosts = Hosts(service.config.server.host, service.config.server.hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._router(scope, receive, send)
            return
        scope["path_params"] = {}
        scope["app"] = self  # tells the router to raise its 404 and 405 rather than to answer them
        began = time.perf_counter()
        status = 0
        request_id = (b"x-request-id", _request_id(scope))
        told = logs.REQUEST_ID.set(request_id[1].decode("ascii"))
        answered = scope[ANSWERED] = Answered(request_id=request_id[1].decode("ascii"))

        async def marked(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [
                    *message["headers"],
                    request_id,
                    *self._round(answered),
                    *self._rates(scope),
                    *self._origins.headers(scope),
                ]
            await send(message)

        route, traced = self._route(scope["path"]), contextlib.ExitStack()
        request = self._traced(scope, route, answered.request_id, traced)
        try:
            if preflight := self._origins.preflight(scope):
                await send_bytes(marked, 204, b"", "text/plain", _text(preflight))
                return
            with self._admitted(scope):
                known = self._paths.get(scope["path"])
                await (self._router if known is None else known.handle)(scope, receive, marked)
        except ClientGone:
            status = status or 499
        except asyncio.CancelledError:
            if status or not self._service.lifecycle.aborted:
                raise
            await self._refuse(drained(), marked)
        except Exception as error:
            if status:
                raise
            await self._refuse(to_api_error(error), marked)
        finally:
            seconds = time.perf_counter() - began
            traces = self._service.traces
            exemplar = None if traces is None else traces.exemplar()
            self._service.metrics.request(route, status, seconds, exemplar)
            if traces is not None and request is not None:
                traces.ended(request, status, seconds)
            traced.close()
            if answered.ranking_s is not None:
                self._service.metrics.overhead(seconds - answered.ranking_s)
            logs.access(scope["method"], route, status, seconds, scope["client"][0] if scope.get("client") else "")
            logs.REQUEST_ID.reset(told)

    def _traced(self, scope: Scope, route: str, request_id: str, stack: contextlib.ExitStack) -> Request | None:
        """A request's span, open until the stack is closed; None where nothing is traced, and for what probes ask."""
        if self._service.traces is None or scope_of(scope["path"]) in (None, "metrics"):
            return None
        return stack.enter_context(self._service.traces.request(scope, route, request_id))

    def _admitted(self, scope: Scope) -> contextlib.AbstractContextManager[None]:
        """Find out who asks: what counts it while it is served.

        Raises `ApiError` (401, 403) for who may not, and where that is entered, 429 for who may not now.
        """
        needed = scope_of(scope["path"])
        if needed is None:
            return _UNCOUNTED
        keys_in_use = self._service.keys.in_use
        self._hosts.check(scope, keys_in_use=keys_in_use)
        self._origins.check(scope, keys_in_use=keys_in_use)
        caller = scope[CALLER] = self._service.keys.caller(scope["headers"])
        if needed != ANY:
            caller.require(needed)
        if needed != "completions" or scope["method"] != "POST":
            return _UNCOUNTED
        return caller.meter.admitted(time.monotonic())

    def _rates(self, scope: Scope) -> list[tuple[bytes, bytes]]:
        caller: Caller | None = scope.get(CALLER)
        return [] if caller is None else caller.meter.headers(time.monotonic())

    async def _refuse(self, error: ApiError, send: Send) -> None:
        self._service.metrics.failed(error.status, error.code)
        await send_json(send, error.status, error.body, error.headers)

    def _round(self, answered: Answered) -> list[tuple[bytes, bytes]]:
        """The round of the model that answers; where none does, that of the champion."""
        number = answered.round
        if number is None and (champion := self._service.roster.champion) is not None:
            number = champion.round
        return [] if number is None else [(b"x-model-round", b"%d" % number)]

    def _route(self, path: str) -> str:
        """The pattern of a path: a label from a small fixed set."""
        if path in self._paths:
            return path
        return next((name for pattern, name in _PATTERNS if pattern.fullmatch(path)), "other")


def _text(headers: list[tuple[bytes, bytes]]) -> list[tuple[str, str]]:
    return [(name.decode("ascii"), value.decode("ascii")) for name, value in headers]


def _request_id(scope: Scope) -> bytes:
    given = next((value for name, value in scope["headers"] if name == b"x-request-id"), b"")
    return given if _REQUEST_ID.fullmatch(given) else uuid7().encode("ascii")
