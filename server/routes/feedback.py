"""`POST /v1/feedback`: 202 once it is on disk; 200 when all of it was there already under its idempotency key."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError
from starlette.types import Receive, Scope, Send

from feedback import Receipt, Signal
from server.asgi import headers_of, read_body, send_json
from server.errors import BadRequest
from server.keys.caller import Caller, caller_of
from server.service import Service
from server.signals import keep
from server.translate.feedback import signal_of
from server.wire.feedback import FeedbackBatch, FeedbackEvent

_SOURCE = "anonymous"
_KEY = re.compile(r"[\x21-\x7e]{1,200}")
_IS_BATCH = re.compile(rb'"events"\s*:')


class Feedback:
    """Stores what users say of choices."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        service = self._service
        with service.lifecycle.admitted():
            headers = headers_of(scope)
            caller = caller_of(scope)
            body = await read_body(receive, headers, service.config.server, caller.body_limit)
            key = headers.get("idempotency-key")
            if key is not None and not _KEY.fullmatch(key):
                raise BadRequest("Idempotency-Key", "must be 1 to 200 printable characters", code="invalid_value")
            signals, is_batch = signals_of(body, key, caller.id or _SOURCE)
            _refuse_text(signals, caller)
            receipts = await keep(service, caller, signals, _SOURCE if caller.key is None else "key")
            await _reply(send, receipts, is_batch=is_batch)


def signals_of(body: bytes, key: str | None, source: str = _SOURCE) -> tuple[list[Signal], bool]:
    """The signals of a body in either form, and whether it was a batch. Raises `ValidationError` and `BadRequest`."""
    now = datetime.now(UTC)
    try:
        event = FeedbackEvent.model_validate_json(body)
    except ValidationError:
        if not _IS_BATCH.search(body):
            raise
        events = FeedbackBatch.model_validate_json(body).events
        return [
            signal_of(
                event,
                now,
                where=f"events[{position}].",
                source=source,
                # The events of a batch share one header; each needs a key of its own that a repeat finds again.
                idempotency_key=None if key is None else f"{key}:{position}",
            )
            for position, event in enumerate(events)
        ], True
    return [signal_of(event, now, where="", source=source, idempotency_key=key)], False


def _refuse_text(signals: Sequence[Signal], caller: Caller) -> None:
    """Text that the key does not want to be kept is refused by name rather than dropped in silence."""
    for signal in signals if not caller.keeps_text else ():
        said = {"value": isinstance(signal.value, str), "partial": bool(signal.partial), "tags": bool(signal.tags)}
        for field, is_text in said.items():
            if is_text:
                raise BadRequest(field, "no text is kept of this key's requests", code="no_text")


async def _reply(send: Send, receipts: Sequence[Receipt], *, is_batch: bool) -> None:
    results: list[dict[str, Any]] = [
        {"id": receipt.id, "object": "feedback", "duplicate": receipt.duplicate} for receipt in receipts
    ]
    status = 200 if all(receipt.duplicate for receipt in receipts) else 202
    await send_json(send, status, {"object": "list", "data": results} if is_batch else results[0])
