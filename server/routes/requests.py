"""`POST /v1/requests/{id}/cancel` and `GET /v1/rerank/{id}`: end a request under way; see all that was logged."""

from __future__ import annotations

from starlette.types import Receive, Scope, Send

from feedback import ForeignExchange, to_line
from server.asgi import send_bytes, send_json
from server.errors import NotFound
from server.keys.caller import caller_of
from server.live import by_request
from server.routes.suites import without_hidden
from server.service import Service


class Cancel:
    """Stops a request by its reply's id or its `X-Request-Id`; answers when nothing of it is left. Also in a drain."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        name, owner = scope["path_params"]["id"], caller_of(scope).id
        known = bool(self._service.live.find(name, owner))
        ended = await self._service.live.cancel(name, owner, by_request())
        if self._service.replicas is not None:
            ended += await self._service.replicas.cancel(name, owner)
        if not known and not ended:
            raise NotFound(f"no request {name!r} is under way", param="id", code="unknown_id")
        await send_json(send, 200, {"id": name, "object": "request.cancelled", "cancelled": ended})


class Record:
    """The whole exchange as it is in the log, with what users said of it: a line of `touchstone feedback export`."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange, signals = await self._service.store.get(scope["path_params"]["id"])
        if exchange.key_id != caller_of(scope).id:
            raise ForeignExchange(f"{exchange.id} is another key's")
        await send_bytes(send, 200, to_line(without_hidden(exchange), signals).encode(), "application/json")
