"""The one middleware: request ids, evidence headers, errors as JSON, durations. Pure ASGI around the router.

`BaseHTTPMiddleware` and exception handlers by class would cost a task and several wrappers a request; this is one
function.
"""

from __future__ import annotations

import asyncio
import re
import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server import logs
from server.asgi import send_json
from server.errors import ApiError, ClientGone, drained, to_api_error
from server.ids import uuid7
from server.served import ANSWERED, Answered
from server.service import Service

_REQUEST_ID = re.compile(rb"[\x21-\x7e]{1,128}")
_PATTERNS = (
    (re.compile(r"/v1/models/.+"), "/v1/models/{id}"),
    (re.compile(r"/v1/rerank/[^/]+"), "/v1/rerank/{id}"),
    (re.compile(r"/v1/requests/[^/]+/cancel"), "/v1/requests/{id}/cancel"),
)


class Gateway:
    """An ASGI app around the routes."""

    def __init__(self, service: Service, router: ASGIApp, paths: frozenset[str]) -> None:
        self._service = service
        self._router = router
        self._paths = paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._router(scope, receive, send)
            return
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
                message["headers"] = [*message["headers"], request_id, *self._round(answered)]
            await send(message)

        try:
            await self._router(scope, receive, marked)
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
            route, seconds = self._route(scope["path"]), time.perf_counter() - began
            self._service.metrics.request(route, status, seconds)
            logs.access(scope["method"], route, status, seconds, scope["client"][0] if scope.get("client") else "")
            logs.REQUEST_ID.reset(told)

    async def _refuse(self, error: ApiError, send: Send) -> None:
        await send_json(send, error.status, error.body, error.headers)

    def _round(self, answered: Answered) -> list[tuple[bytes, bytes]]:
        """The round of the model that answers; where none does, that of the champion."""
        served = answered.by or self._service.roster.champion
        return [] if served is None else [(b"x-model-round", b"%d" % served.round)]

    def _route(self, path: str) -> str:
        """The pattern of a path: a label from a small fixed set."""
        if path in self._paths:
            return path
        return next((name for pattern, name in _PATTERNS if pattern.fullmatch(path)), "other")


def _request_id(scope: Scope) -> bytes:
    given = next((value for name, value in scope["headers"] if name == b"x-request-id"), b"")
    return given if _REQUEST_ID.fullmatch(given) else uuid7().encode("ascii")
