"""uvicorn's HTTP protocol, with an end to what it waits for: a request's head comes in time, and is not endless.

Without it every connection that sends a byte a minute is kept for ever, and a header of a gigabyte is held in memory.
And under overload refusing is made cheap, as it takes its time from the requests that are let in: what comes within
`GATHER_S` is read together, and what the head alone has refused is answered without the task that uvicorn makes.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any, cast

from starlette.types import Scope
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from server.errors import ApiError, RequestTimeout
from server.gateway import Gateway, Refusal

HEAD_BYTES = 64 * 1024
"""Of request line and headers; clients send one or two thousand."""
GATHER_S = 0.05
"""Beside an engine at work a refusal by itself takes the event loop 1.5 ms and more, the next ones of the same moment
0.2 each (docs/experiments.md, "Refusals, again"). Requests that are let in wait longer in the queue."""
_MOST_PARTS = 4
"""Of a connection that sends much, so many reads are held at most."""


class Gathering:
    """Holds what clients send while there is overload, and reads all of it at once. For one event loop."""

    def __init__(self, overloaded: Callable[[], bool]) -> None:
        self._overloaded = overloaded
        self._held: dict[Protocol, list[bytes]] = {}

    def take(self, protocol: Protocol, data: bytes) -> None:
        """Have a connection read what came: now, or together with what others send."""
        if not self._held:
            if not self._overloaded():
                protocol.read(data)
                return
            protocol.loop.call_later(GATHER_S, self._read_all)
        self._held.setdefault(protocol, []).append(data)
        if len(self._held[protocol]) == _MOST_PARTS:
            protocol.read(b"".join(self._held.pop(protocol)))

    def _read_all(self) -> None:
        held, self._held = self._held, {}
        for protocol, parts in held.items():
            if not protocol.transport.is_closing():
                protocol.read(b"".join(parts))


class Protocol(HttpToolsProtocol):
    """One connection."""

    timeout_s = 30.0
    """For the head of a request: of the first from the connection's beginning, of others from their first bytes."""
    refusal: Callable[[Scope], Refusal | None]
    """What to answer to a request of which there is no more than its head; None: it is the app's."""
    gathering: Gathering
    _in_head = True
    _head_bytes = 0
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a head."""
        super().connection_made(transport)
        self._begin()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing more."""
        self._end()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Some bytes, to be read now, or under overload soon."""
        self.gathering.take(self, data)

    def read(self, data: bytes) -> None:
        """Some bytes; where the head is still not complete behind them they belong to it."""
        super().data_received(data)
        if not self._in_head:
            return
        if self._timer is None:
            self._begin()
        self._head_bytes += len(data)
        if self._head_bytes > HEAD_BYTES:
            self._refuse(ApiError(431, f"the request's head is larger than {HEAD_BYTES} bytes", code="head_too_large"))

    def on_message_begin(self) -> None:
        """The parser saw the beginning of a request."""
        super().on_message_begin()
        self._in_head = True

    def on_headers_complete(self) -> None:
        """The parser saw the end of a head."""
        self._in_head = False
        self._end()
        super().on_headers_complete()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        """Serve a request, unless its head was enough; its body, as of every answered request, is read and dropped."""
        refusal = self.refusal(cast("Scope", cycle.scope))
        if refusal is None:
            super()._start_asgi_task(cycle, app)
            return
        fields = [*self.server_state.default_headers, *refusal.headers]
        if not cycle.keep_alive:
            fields.append((b"connection", b"close"))
        head = b"".join(b"%b: %b\r\n" % field for field in fields)
        self.transport.write(STATUS_LINE[refusal.status] + head + b"\r\n" + refusal.body)
        cycle.response_started = cycle.response_complete = True
        if not cycle.keep_alive:
            self.transport.close()
        self.on_response_complete()

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


def protocol_of(timeout_s: float, gateway: Gateway) -> type[Protocol]:
    """The class that uvicorn makes for each connection."""
    own = {"timeout_s": timeout_s, "gathering": Gathering(gateway.overloaded), "refusal": staticmethod(gateway.refusal)}
    return type("Protocol", (Protocol,), own)
