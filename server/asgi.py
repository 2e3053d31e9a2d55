"""The little of HTTP that routes need: read a capped body, send JSON, know when the client has gone."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from typing import Any

from starlette.types import Receive, Scope, Send

from server.errors import BodyTooLarge, ClientGone

HeaderList = Iterable[tuple[str, str]]


def headers_of(scope: Scope) -> dict[str, str]:
    """Request headers by lower-case name; of a repeated one, the last."""
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}


async def read_body(receive: Receive, headers: dict[str, str], limit_bytes: int) -> bytes:
    """The whole body. Raises `BodyTooLarge` as soon as it is known to be, `ClientGone` when it never ends."""
    length = headers.get("content-length", "")
    if length.isdigit() and int(length) > limit_bytes:
        raise BodyTooLarge(limit_bytes)
    parts, size = [], 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        part = message.get("body", b"")
        size += len(part)
        if size > limit_bytes:
            raise BodyTooLarge(limit_bytes)
        parts.append(part)
        if not message.get("more_body", False):
            return b"".join(parts) if len(parts) > 1 else part


async def send_json(send: Send, status: int, body: Any, headers: HeaderList = ()) -> None:
    """A JSON reply, encoded once."""
    await send_bytes(send, status, json.dumps(body, separators=(",", ":")).encode("ascii"), "application/json", headers)


async def send_bytes(send: Send, status: int, body: bytes, content_type: str, headers: HeaderList = ()) -> None:
    """A whole reply."""
    fields = [(b"content-type", content_type.encode("ascii")), (b"content-length", b"%d" % len(body))]
    fields += [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]
    await send({"type": "http.response.start", "status": status, "headers": fields})
    await send({"type": "http.response.body", "body": body})


async def gone(receive: Receive) -> None:
    """Return when the client has closed the connection; the body must have been read."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def cancel(*tasks: asyncio.Future[Any]) -> None:
    """Cancel what is not done and wait until it has let go of everything; what it raised is of no interest any more."""
    open_tasks = [task for task in tasks if not task.done()]
    for task in open_tasks:
        task.cancel()
    if open_tasks:
        await asyncio.wait(open_tasks)
    for task in tasks:
        if not task.cancelled():
            task.exception()
