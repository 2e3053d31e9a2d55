"""Server-sent events, as OpenAI's clients read them: data lines, comments as heartbeats, an error event, `[DONE]`."""

from __future__ import annotations

from typing import Any

from server.asgi import encoded

DONE = b"data: [DONE]\n\n"
HEARTBEAT = b": still working\n\n"


def error(body: dict[str, Any]) -> bytes:
    """An error event. Clients that read only data lines know it by its `error` key."""
    return b"event: error\n" + event(body)


def event(body: dict[str, Any]) -> bytes:
    """One event."""
    return b"data: " + encoded(body) + b"\n\n"
