"""uvicorn's HTTP protocol, with an end to what it waits for: a request's head comes in time, and is not endless.

Without it every connection that sends a byte a minute is kept for ever, and a header of a gigabyte is held in memory.
"""

from __future__ import annotations

import asyncio
import json

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from server.errors import ApiError, RequestTimeout

HEAD_BYTES = 64 * 1024
"""Of request line and headers; clients send one or two thousand."""


class Protocol(HttpToolsProtocol):
    """One connection."""

    timeout_s = 30.0
    """For the head of a request: of the first from the connection's beginning, of others from their first byte."""
    _timer: asyncio.TimerHandle | None = None
    _head_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a head."""
        super().connection_made(transport)
        self._begin()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing more."""
        self._end()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Some bytes; where the head is still not complete behind them they belong to it."""
        super().data_received(data)
        if self._timer is None:
            return
        self._head_bytes += len(data)
        if self._head_bytes > HEAD_BYTES:
            self._refuse(ApiError(431, f"the request's head is larger than {HEAD_BYTES} bytes", code="head_too_large"))

    def on_message_begin(self) -> None:
        """The parser saw the beginning of a request."""
        super().on_message_begin()
        if self._timer is None:
            self._begin()

    def on_headers_complete(self) -> None:
        """The parser saw the end of a head."""
        self._end()
        super().on_headers_complete()

    def _begin(self) -> None:
        self._head_bytes = 0
        self._timer = self.loop.call_later(self.timeout_s, self._refuse, RequestTimeout("head", self.timeout_s))

    def _end(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _refuse(self, error: ApiError) -> None:
        self._end()
        if self.transport.is_closing():
            return
        body = json.dumps(error.body).encode("ascii")
        fields = b"content-type: application/json\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % len(body)
        if self.cycle is None or self.cycle.response_complete:  # an earlier answer may still be on its way
            self.transport.write(b"HTTP/1.1 %d \r\n" % error.status + fields + body)
        self.transport.close()


def protocol_of(timeout_s: float) -> type[Protocol]:
    """The class that uvicorn makes for each connection."""
    return type("Protocol", (Protocol,), {"timeout_s": timeout_s})
