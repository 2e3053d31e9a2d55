"""What Tabby's clients ask besides completions: `GET /v1/health`, and `POST /v1/events`: what became of an answer."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from typing import Any

from starlette.types import Receive, Scope, Send

from engine import touchstone_version
from server.asgi import headers_of, read_body, send_bytes, send_json
from server.keys.caller import caller_of
from server.service import Service
from server.signals import keep
from server.translate.feedback import signal_of
from server.wire.feedback import FeedbackEvent
from server.wire.tabby import TabbyEvent

_TYPES = {"select": "accept", "dismiss": "reject"}
_SOURCE = "tabby"


class TabbyHealth:
    """`GET /v1/health`: which model answers. Raises `Unavailable` (503) while none does."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        info = self._service.roster.current.info
        version = touchstone_version()
        body: dict[str, Any] = {
            "model": info.model,
            "chat_model": info.model if info.chat else None,
            "device": info.engine,
            "arch": platform.machine(),
            "cpu_info": platform.processor() or platform.machine(),
            "cpu_count": os.cpu_count(),
            "cuda_devices": [],
            "version": {"build_date": "", "build_timestamp": "", "git_sha": "", "git_describe": f"v{version}"},
        }
        await send_json(send, 200, body)


class TabbyEvents:
    """`POST /v1/events`: `select` is an accept, `dismiss` a reject, joined by the reply's id; `view` is counted."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        service = self._service
        with service.lifecycle.admitted():
            headers = headers_of(scope)
            caller = caller_of(scope)
            event = TabbyEvent.model_validate_json(await read_body(receive, headers, service.config.server))
            if event.type in _TYPES and event.completion_id:
                said = FeedbackEvent.model_validate(
                    {
                        "id": event.completion_id,
                        "choice": event.choice_index or 0,
                        "type": _TYPES[event.type],
                        "elapsed_ms": event.elapsed,
                        "partial": event.select_kind if event.type == "select" and caller.keeps_text else None,
                    }
                )
                # A view is selected or dismissed once: the client may send it again, and it counts once.
                key = None if event.view_id is None else f"tabby:{event.view_id}:{event.type}"[:200]
                source = caller.id or _SOURCE
                signal = signal_of(said, datetime.now(UTC), where="", source=source, idempotency_key=key)
                await keep(service, caller, [signal], _SOURCE)
            elif event.type == "view":
                service.metrics.shown()
            await send_bytes(send, 200, b"", "text/plain")
