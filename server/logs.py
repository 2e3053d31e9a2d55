"""The process's own log, for people or for machines: `log.format` `human` or `json`. Never what is in a request.

Every line written while a request is worked on carries its `X-Request-Id`; `log.access` adds a line a request.
"""

from __future__ import annotations

import json
import logging
import sys
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import IO, Literal

REQUEST_ID: ContextVar[str | None] = ContextVar("touchstone_request_id", default=None)
"""Of the request that the current task works on."""
ACCESS = logging.getLogger("touchstone.access")
_FIELDS = ("method", "route", "status", "duration_ms", "peer")
"""What a line of the access log has, in this order; routes are patterns, so no id or text of a client is in them."""


class _WithRequestId(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        record.request_id = REQUEST_ID.get()
        return True


class JsonLines(logging.Formatter):
    """One JSON object a line: time (UTC), level, logger, message, request_id, and what an access line has besides."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            "request_id": getattr(record, "request_id", None),
        }
        line |= {name: getattr(record, name) for name in _FIELDS if hasattr(record, name)}
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, separators=(",", ":"))


class HumanLines(logging.Formatter):
    """Time, level, logger, message; the request's id in brackets at the end of the first line."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s%(bracketed)s")

    def format(self, record: logging.LogRecord) -> str:
        request_id = getattr(record, "request_id", None)
        record.bracketed = "" if request_id is None else f" [{request_id}]"
        return super().format(record)


def configure(form: Literal["human", "json"], *, access: bool, out: IO[str] | None = None) -> None:
    """Set the process's logging up, in place of what was there. Writes to standard error unless given another file."""
    handler = logging.StreamHandler(out or sys.stderr)
    handler.addFilter(_WithRequestId())
    handler.setFormatter(JsonLines() if form == "json" else HumanLines())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("engine").setLevel(logging.INFO)  # what it chose for this host, a line or two a start
    ACCESS.setLevel(logging.INFO if access else logging.WARNING)


def access(method: str, route: str, status: int, seconds: float, peer: str) -> None:
    """A request was answered; 499: its client went away before."""
    if ACCESS.isEnabledFor(logging.INFO):
        ms = round(seconds * 1e3, 1)
        extra = {"method": method, "route": route, "status": status, "duration_ms": ms, "peer": peer}
        ACCESS.info("%s %s %d %.1f ms", method, route, status, ms, extra=extra)
