"""`POST /v1/feedback`, from wire to domain: what `value` must be for each type."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import datetime
from typing import Any

from feedback import Signal
from server.errors import BadRequest
from server.ids import uuid7
from server.wire.feedback import FeedbackEvent


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_counts(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and set(value) == {"passed", "failed"}
        and all(isinstance(count, int) and not isinstance(count, bool) and count >= 0 for count in value.values())
    )


_VALUES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "accept": (lambda value: value is None or isinstance(value, bool), "true, false or nothing"),
    "reject": (lambda value: value is None or isinstance(value, bool), "true, false or nothing"),
    "edit": (lambda value: isinstance(value, str), "the text after editing"),
    "rating": (_is_number, "a finite number"),
    "tests": (_is_counts, 'an object {"passed": number, "failed": number}'),
    "comment": (lambda value: isinstance(value, str), "text"),
    "demonstration": (lambda value: isinstance(value, str), "the text it should have been"),
}


def signal_of(event: FeedbackEvent, now: datetime, *, where: str, source: str, idempotency_key: str | None) -> Signal:
    """One event as a signal. `where` is the event's place in the body. Raises `BadRequest`."""
    fits, words = _VALUES[event.type]
    if not fits(event.value):
        raise BadRequest(f"{where}value", f"for {event.type!r} it must be {words}", code="invalid_value")
    return Signal(
        id=f"sig-{uuid7()}",
        exchange_id=event.id,
        created_at=now,
        choice=event.choice,
        type=event.type,
        value=event.value,
        source=source,
        idempotency_key=idempotency_key,
        elapsed_ms=event.elapsed_ms,
        partial=event.partial,
        retained_after_s=event.retained_after_s,
        tags=event.tags,
    )
