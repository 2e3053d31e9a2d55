"""Answers to keyed requests that all servers of one log know (`server/idempotency.py`)."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import itertools
import json
import logging
from typing import TYPE_CHECKING

from starlette.types import Message

from feedback import StoreUnavailable

if TYPE_CHECKING:
    from feedback import AnsweredRequests, Channel

_log = logging.getLogger(__name__)
LOOK_S = 0.1
"""Seconds between two looks whether another server has answered."""
RENEW_S = 1.0
"""Seconds between two signs of life."""
EXPIRE_S = 60
"""Of these, every so many also what is too old is deleted."""
MOST_BYTES = 4 * 1024 * 1024
"""Of one answer; of a longer one only its own server knows."""


class Reused(Exception):
    """The key was sent with another body."""


class SharedAnswers:
    """What others work on or have answered. For one event loop; `renewing` is to run beside it."""

    def __init__(self, channel: Channel, keep_s: float) -> None:
        """`keep_s`: for which an answer is kept."""
        from feedback import AnsweredRequests

        self._requests: AnsweredRequests = AnsweredRequests(channel, keep_s)
        self._ours: set[str] = set()

    async def claim(self, name: tuple[str, str, bytes], body: bytes) -> tuple[int | None, list[Message]] | None:
        """None: it is ours to answer, and `end` is to be called. Else the round and the messages of another's answer,
        which is waited for while that one works on it. While the database is away all is ours. Raises `Reused`.
        """
        row, body_hash = _row(name), hashlib.blake2b(body, digest_size=16).hexdigest()
        while True:
            try:
                held = await self._requests.claim(row, body_hash)
            except StoreUnavailable as error:
                _log.warning("whether another server answered already is not known: %s", error)
                held = None
            if held is None:
                self._ours.add(row)
                return None
            if held.body_hash != body_hash:
                raise Reused
            if held.answer is not None:
                return _from_text(held.answer)
            await asyncio.sleep(LOOK_S)

    async def end(self, name: tuple[str, str, bytes], round: int | None, messages: list[Message] | None) -> None:  # noqa: A002
        """What came of it; None: nothing that is kept. Never raises."""
        row = _row(name)
        self._ours.discard(row)
        size = sum(len(message.get("body", b"")) for message in messages or ())
        try:
            await self._requests.end(row, _to_text(round, messages) if messages and size <= MOST_BYTES else None)
        except StoreUnavailable as error:
            _log.warning("an answer is not shared with the other servers: %s", error)

    async def renewing(self) -> None:
        """Say that we still work on what is ours, and delete what is too old, as long as this server runs."""
        for second in itertools.count():
            try:
                if self._ours:
                    await self._requests.renew(self._ours)
                if second % EXPIRE_S == 0:
                    await self._requests.expire()
            except StoreUnavailable as error:
                _log.debug("not renewed: %s", error)
            await asyncio.sleep(RENEW_S)


def _row(name: tuple[str, str, bytes]) -> str:
    path, key, owner = name
    return hashlib.blake2b(b"\0".join((path.encode(), key.encode(), owner)), digest_size=24).hexdigest()


def _to_text(round: int | None, messages: list[Message]) -> str:  # noqa: A002
    start = messages[0]
    headers = [[name.decode("latin-1"), value.decode("latin-1")] for name, value in start["headers"]]
    body = base64.b85encode(b"".join(message.get("body", b"") for message in messages[1:])).decode()
    return json.dumps({"round": round, "status": start["status"], "headers": headers, "body": body})


def _from_text(text: str) -> tuple[int | None, list[Message]]:
    said = json.loads(text)
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in said["headers"]]
    body = base64.b85decode(said["body"])
    start = {"type": "http.response.start", "status": said["status"], "headers": headers}
    return said["round"], [start, {"type": "http.response.body", "body": body, "more_body": False}]
