"""Server-sent events, as OpenAI's clients read them: data lines, comments as heartbeats, an error event, `[DONE]`."""

from __future__ import annotations

import json
from typing import Any

DONE = b"data: [DONE]\n\n"
HEARTBEAT = b": still working\n\n"


def error(body: dict[str, Any]) -> bytes:
    """An error event. Clients that read only data lines know it by its `error` key."""
    return b"event: error\n" + event(body)


def event(body: dict[str, Any]) -> bytes:
    """One event. JSON escapes every newline, so the frame cannot be broken by text."""
    return b"data: " + json.dumps(body, separators=(",", ":")).encode("ascii") + b"\n\n"
