"""`GET /v1/models` and `GET /v1/models/{id}`: the plain name first, then profiles and methods."""

from __future__ import annotations

import time
from typing import Any

from starlette.types import Receive, Scope, Send

from server.asgi import send_json
from server.served import Served
from server.service import Service
from server.translate.names import resolve, told, usable


class Models:
    """The list, or one entry of it."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._created = int(time.time())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        roster = self._service.roster
        name = scope["path_params"].get("id")
        if name is not None:
            served = roster.pick(name, key="", traffic=False)
            resolve(name, served.info.model, served.defaults.methods, served.defaults.also, served.defaults.profiles)
            await send_json(send, 200, self._entry(told(name, served.info.model), served))
            return
        roster.current  # noqa: B018 - raises while there is no champion
        entries = [
            self._entry(name, served) for role, served in roster if role != "replaced" for name in _names(served)
        ]
        await send_json(send, 200, {"object": "list", "data": entries})

    def _entry(self, name: str, served: Served) -> dict[str, Any]:
        info = served.info
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
            "round": served.round,
            "profiles": list(served.defaults.profiles),
            "role": self._service.roster.role_of(served),
        }


def _names(served: Served) -> list[str]:
    defaults = served.defaults
    return usable(
        served.info.model,
        defaults.methods,
        defaults.num_candidates,
        can_run=defaults.can_run,
        profiles=defaults.profiles,
    )
