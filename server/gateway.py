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
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from engine import Overloaded, Priority
from server import logs
from server.asgi import encoded, fields_of, headers_of, send_bytes, send_json
from server.errors import ApiError, ClientGone, drained, to_api_error
from server.hosts import Hosts
from server.ids import uuid7
from server.keys.caller import ANY, CALLER, Caller, scope_of
from server.keys.types import Scope as KeyScope
from server.origins import Origins
from server.overload import refuse_by_head
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
_LASTS_S = 1.0
"""Seconds after a refusal in which there is taken to be overload."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer to a request of which nothing but its head was looked at."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


class Gateway:
    """An ASGI app around the routes."""

    def __init__(
        self, service: Service, router: ASGIApp, paths: Mapping[str, BaseRoute], most_urgent: Mapping[str, Priority]
    ) -> None:
        """`paths`: the router's routes whose path is always the same. `most_urgent`: of those that sample, by path, the
        first class that a request can be of.
        """
        self._service = service
        self._router = router
        self._paths = paths
        self._most_urgent = most_urgent
        self._overload_until_s = 0.0
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
                message["headers"] = [*message["headers"], request_id, *self._notes(scope, answered.round)]
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
            if traces is not None and request is not None:
                traces.ended(request, status, seconds)
            traced.close()
            if answered.ranking_s is not None:
                self._service.metrics.overhead(seconds - answered.ranking_s)
            self._ended(scope, route, status, seconds, exemplar)
            logs.REQUEST_ID.reset(told)

    def _traced(self, scope: Scope, route: str, request_id: str, stack: contextlib.ExitStack) -> Request | None:
        """A request's span, open until the stack is closed; None where nothing is traced, and for what probes ask."""
        if self._service.traces is None or scope_of(scope["path"]) in (None, "metrics"):
            return None
        return stack.enter_context(self._service.traces.request(scope, route, request_id))

    def overloaded(self) -> bool:
        """Whether a request was refused for want of a place lately."""
        return time.perf_counter() < self._overload_until_s

    def refusal(self, scope: Scope) -> Refusal | None:
        """The answer to a request whose head alone says that the queue has no place for it; None: serve it.

        What an HTTP server asks before it makes a task, which is most of what a refusal costs, and only under overload,
        so that all other requests are looked at once. A refusal for another reason goes first; that is `__call__`'s.
        """
        began, most_urgent = time.perf_counter(), self._most_urgent.get(scope["path"])
        if most_urgent is None or not self.overloaded() or scope["method"] != "POST":
            return None
        headers, service = headers_of(scope), self._service
        if "idempotency-key" in headers or service.lifecycle.phase != "ok" or service.traces is not None:
            return None  # it may have been answered before; nobody is served; it has a span
        try:
            refuse_by_head(service, self._caller(scope, "completions"), headers, most_urgent)
        except ApiError:
            return None
        except Overloaded as overloaded:
            error = to_api_error(overloaded)
        else:
            return None
        self._note(error)
        body, request_id = encoded(error.body), _request_id(scope)
        told = logs.REQUEST_ID.set(request_id.decode("ascii"))
        self._ended(scope, scope["path"], error.status, time.perf_counter() - began)
        logs.REQUEST_ID.reset(told)
        fields = fields_of(body, "application/json", error.headers)
        return Refusal(error.status, [*fields, (b"x-request-id", request_id), *self._notes(scope, None)], body)

    def _admitted(self, scope: Scope) -> contextlib.AbstractContextManager[None]:
        """Find out who asks: what counts it while it is served.

        Raises `ApiError` (401, 403) for who may not, and where that is entered, 429 for who may not now.
        """
        needed = scope_of(scope["path"])
        if needed is None:
            return _UNCOUNTED
        caller = self._caller(scope, needed)
        if needed != "completions" or scope["method"] != "POST":
            return _UNCOUNTED
        return caller.meter.admitted(time.monotonic())

    def _caller(self, scope: Scope, needed: KeyScope | Literal["any"]) -> Caller:
        """Who asks, noted in the scope. Raises `ApiError` (401, 403)."""
        keys_in_use = self._service.keys.in_use
        self._hosts.check(scope, keys_in_use=keys_in_use)
        self._origins.check(scope, keys_in_use=keys_in_use)
        caller = scope[CALLER] = self._service.keys.caller(scope["headers"])
        if needed != ANY:
            caller.require(needed)
        return caller

    async def _refuse(self, error: ApiError, send: Send) -> None:
        self._note(error)
        await send_json(send, error.status, error.body, error.headers)

    def _note(self, error: ApiError) -> None:
        self._service.metrics.failed(error.status, error.code)
        if error.code == "overloaded":
            self._overload_until_s = time.perf_counter() + _LASTS_S

    def _ended(
        self, scope: Scope, route: str, status: int, seconds: float, exemplar: dict[str, str] | None = None
    ) -> None:
        self._service.metrics.request(route, status, seconds, exemplar)
        logs.access(scope["method"], route, status, seconds, scope["client"][0] if scope.get("client") else "")

    def _notes(self, scope: Scope, number: int | None) -> list[tuple[bytes, bytes]]:
        """What every reply says besides: the round of the model that answers, or where none does that of the champion;
        the caller's rates; what browsers must be told.
        """
        if number is None and (champion := self._service.roster.champion) is not None:
            number = champion.round
        caller: Caller | None = scope.get(CALLER)
        return [
            *([] if number is None else [(b"x-model-round", b"%d" % number)]),
            *([] if caller is None else caller.meter.headers(time.monotonic())),
            *self._origins.headers(scope),
        ]

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
