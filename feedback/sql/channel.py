"""What processes of one PostgreSQL database tell each other: JSON messages by LISTEN and NOTIFY, and none is kept.

A message reaches whoever listens when it is said, and is lost to the others. Poolers that lend out connections by the
transaction (PgBouncer's default mode) cannot listen: the URL must lead to the server itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, LiteralString
from uuid import uuid4

from psycopg import AsyncConnection, Error
from sqlalchemy import make_url

from feedback.errors import StoreUnavailable

_log = logging.getLogger(__name__)
_NAME = "touchstone"
RETRY_S = 1.0
"""Seconds between two attempts to reach the server."""
MOST_BYTES = 7_900
"""Of one message; PostgreSQL takes 7,999."""


class Channel:
    """Hears what others say, and says. For one event loop; `start` it, `aclose` it."""

    def __init__(self, url: str, on_message: Callable[[dict[str, Any]], None]) -> None:
        """`on_message` is called with what others say, in their order."""
        self.id = uuid4().hex
        self._url = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
        self._on_message = on_message
        self._speaker: AsyncConnection[Any] | None = None
        self._speaking = asyncio.Lock()
        self._listening: asyncio.Task[None] | None = None
        self.listens = asyncio.Event()
        """Set while others are heard."""

    def start(self) -> None:
        """Begin to listen, and go on whenever the server is back."""
        self._listening = asyncio.create_task(self._listen())

    async def say(self, message: dict[str, Any]) -> None:
        """Tell all others. Raises `StoreUnavailable`, and `ValueError` for more than `MOST_BYTES`."""
        text = json.dumps({**message, "from": self.id}, separators=(",", ":"))
        if len(text) > MOST_BYTES:
            raise ValueError(f"a message of {len(text)} bytes, more than {MOST_BYTES}")
        async with self._connected() as connection:
            await connection.execute("SELECT pg_notify(%s, %s)", (_NAME, text))

    async def fetch(self, statement: LiteralString, values: Mapping[str, Any]) -> list[tuple[Any, ...]]:
        """The rows of a statement, committed by itself; none of one that has none. Raises `StoreUnavailable`."""
        async with self._connected() as connection:
            done = await connection.execute(statement, values)
            return [] if done.description is None else await done.fetchall()

    async def others(self) -> int:
        """How many others listen now. Raises `StoreUnavailable`."""
        [(number,)] = await self.fetch(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE %(all)s"
            " AND application_name <> %(own)s",
            {"all": f"{_NAME}-%", "own": f"{_NAME}-{self.id}"},
        )
        return int(number)

    async def aclose(self) -> None:
        """Neither listen nor speak any more."""
        if self._listening is not None:
            self._listening.cancel()
            await asyncio.wait([self._listening])
        await self._hang_up()

    @contextlib.asynccontextmanager
    async def _connected(self) -> AsyncIterator[AsyncConnection[Any]]:
        async with self._speaking:
            try:
                if self._speaker is None or self._speaker.closed:
                    self._speaker = await self._connect(_NAME)
                yield self._speaker
            except Error as error:
                if self._speaker is not None:
                    await self._speaker.close()
                raise StoreUnavailable(f"the other servers cannot be told: {error}") from error

    async def _hang_up(self) -> None:
        async with self._speaking:
            if self._speaker is not None:
                await self._speaker.close()

    async def _connect(self, name: str) -> AsyncConnection[Any]:
        return await AsyncConnection.connect(
            self._url, autocommit=True, connect_timeout=5, tcp_user_timeout=10_000, application_name=name
        )

    async def _listen(self) -> None:
        while True:
            try:
                async with await self._connect(f"{_NAME}-{self.id}") as connection:
                    await connection.execute(f"LISTEN {_NAME}")
                    self.listens.set()
                    async for heard in connection.notifies():
                        self._hear(heard.payload)
            except Error as error:
                _log.error("the other servers are not heard until the database is back: %s", error)
            finally:
                self.listens.clear()
            await self._hang_up()  # its server is gone as well: the first message that is said by it would be lost
            await asyncio.sleep(RETRY_S)

    def _hear(self, text: str) -> None:
        try:
            message = json.loads(text)
            if message.pop("from") != self.id:
                self._on_message(message)
        except (ValueError, TypeError, KeyError, AttributeError) as error:  # of another version, or of somebody else
            _log.warning("what was said is not understood: %s: %s", type(error).__name__, error)
