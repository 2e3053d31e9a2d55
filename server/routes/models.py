"""`GET /v1/models` and `GET /v1/models/{id}`: the plain name first, then each method with the default number."""

from __future__ import annotations

import time
from typing import Any

from starlette.types import Receive, Scope, Send

from server.asgi import send_json
from server.service import Service
from server.translate.names import resolve, round_of, usable


class Models:
    """The list, or one entry of it."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._created = int(time.time())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        info, defaults = self._service.parts.engine.info, self._service.defaults
        name = scope["path_params"].get("id")
        if name is not None:
            resolve(name, info.model, defaults.methods)
            await send_json(send, 200, self._entry(name))
            return
        names = usable(info.model, defaults.methods, defaults.num_candidates, can_run=defaults.can_run)
        await send_json(send, 200, {"object": "list", "data": [self._entry(found) for found in names]})

    def _entry(self, name: str) -> dict[str, Any]:
        info = self._service.parts.engine.info
        return {
            "id": name,
            "object": "model",
            "created": self._created,
            "owned_by": "touchstone",
            "root": info.model,
            "engine": info.engine,
            "effective_dtype": info.dtype,
            "weights": info.weights,
            "context_length": info.context_length,
            "fim": info.fim,
            "max_logprobs": info.max_logprobs,
            "chat": info.chat,
            "round": round_of(info.model),
        }
