"""The log on a database server, with a local outbox for the time in which the server is away.

What cannot be written there is written to a SQLite file of the same tables before it is acknowledged, and copied over,
oldest first and with its ids, once the server is back. Copying twice is harmless, so a crash at any moment loses
nothing and doubles nothing. Signals are taken wherever their exchange is; where that cannot be told, they are refused
with `StoreUnavailable`. Why so: docs/decisions/0062.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from feedback.answers import Answer
from feedback.contest import Observation
from feedback.errors import FeedbackError, StoreUnavailable, UnknownExchange
from feedback.sql import merge
from feedback.sql.answers import MOST
from feedback.sql.holding import held
from feedback.sql.store import SqlStore
from feedback.stored_suites import StoredSuite
from feedback.types import Exchange, Logged, Receipt, Signal

_log = logging.getLogger(__name__)
RETRY_S = 1.0
"""Seconds between two attempts to reach the server."""


class OutboxStore:
    """The log over a server that may be away (`FeedbackStore`, `ContestLog`, `SuiteStore`).

    Made by `open`; belongs to one event loop.
    """

    def __init__(self, url: str, store: SqlStore | None, file: Path, retry_s: float) -> None:
        """`store`: None where the server could not be reached yet. Opens the outbox's file, and so blocks."""
        self._url = url
        self._store = store
        self._file = file
        self._outbox = SqlStore.open(file)
        self._retry_s = retry_s
        self._away = store is None
        self._waiting = 0
        self._draining: asyncio.Task[None] | None = None
        self._stop = asyncio.Event()

    @classmethod
    def open(cls, url: str, file: Path, *, retry_s: float = RETRY_S) -> OutboxStore:
        """Open the outbox's file, and the server's database if it can be reached; else that is done later. Blocks.

        Call `resume` then. Raises `StoreFailed` for a URL that is wrong, and as `SqlStore.open` does.
        """
        store = None
        try:
            store = SqlStore.open(url)
        except StoreUnavailable as error:
            _log.error("the log's database is away, records go to %s until it is back: %s", file, error)
        return cls(url, store, file, retry_s)

    @property
    def waiting(self) -> int:
        """Exchanges in the outbox, as far as is known without asking."""
        return self._waiting

    async def resume(self) -> None:
        """Begin to copy what an earlier process left in the outbox. Raises `StoreFailed` where it cannot be read."""
        self._waiting = await self._outbox.count()
        if self._waiting or self._away:
            self._drain_soon()

    async def record(self, exchange: Exchange) -> None:
        """See `FeedbackStore.record`."""
        if not self._away:
            try:
                await self._server().record(exchange)
            except StoreUnavailable as error:
                self._lost(error)
            else:
                return
        await self._outbox.record(exchange)
        self._waiting += 1
        self._drain_soon()

    async def signal(self, signal: Signal, *, key_id: str | None = None) -> Receipt:
        """See `FeedbackStore.signal`."""
        return (await self.signals([signal], key_id=key_id))[0]

    async def signals(self, signals: Sequence[Signal], *, key_id: str | None = None) -> tuple[Receipt, ...]:
        """See `FeedbackStore.signals`. Raises `StoreUnavailable` where their exchanges are not all in one place."""
        if not self._away:
            try:
                return await self._server().signals(signals, key_id=key_id)
            except StoreUnavailable as error:
                self._lost(error)
            except UnknownExchange:
                if not await self._held(signals):
                    raise
        try:
            return await self._outbox.signals(signals, key_id=key_id)
        except UnknownExchange:
            if not self._away and not await self._held(signals):  # copied over in this very moment
                return await self._server().signals(signals, key_id=key_id)
            raise StoreUnavailable("the database is away; what is said of this exchange is taken later") from None

    async def get(self, exchange_id: str) -> Logged:
        """See `FeedbackStore.get`."""
        try:
            return await self._server().get(exchange_id)
        except (StoreUnavailable, UnknownExchange) as error:
            try:
                return await self._outbox.get(exchange_id)
            except UnknownExchange:
                raise error from None

    async def outcomes(self, since: datetime) -> list[Observation]:
        """See `ContestLog.outcomes`; what waits in the outbox is not among them yet."""
        return await self._server().outcomes(since)

    async def answers(
        self, since: datetime, *, key_id: str | None, prompt_hashes: Sequence[str] = (), beginning: str = ""
    ) -> list[Answer]:
        """See `AnswerLog.answers`; while the server is away, those in the outbox alone."""
        found: list[Answer] = []

        async def add(store: SqlStore) -> None:
            more = await store.answers(since, key_id=key_id, prompt_hashes=prompt_hashes, beginning=beginning)
            found.extend(answer for answer in more if answer not in found)  # copied over in this very moment

        if not self._away:
            try:
                await add(self._server())
            except StoreUnavailable as error:
                self._lost(error)
        if self._away or self._waiting:
            await add(self._outbox)
        return sorted(found, key=lambda answer: (answer.created_at, answer.exchange_id), reverse=True)[:MOST]

    async def put_suite(self, suite: StoredSuite) -> bool:
        """See `SuiteStore.put_suite`. Suites are kept on the server alone: `StoreUnavailable` while it is away."""
        return await self._at_hand().put_suite(suite)

    async def suite(self, suite_id: str, owner: str) -> StoredSuite | None:
        """See `SuiteStore.suite`, and `put_suite`."""
        return await self._at_hand().suite(suite_id, owner)

    async def suites(self, owner: str) -> list[StoredSuite]:
        """See `SuiteStore.suites`, and `put_suite`."""
        return await self._at_hand().suites(owner)

    async def delete(
        self, *, before: datetime | None = None, key_id: str | None = None, exchange_id: str | None = None
    ) -> int:
        """See `FeedbackStore.delete`: from the outbox, then from the server, where all that was copied is by then."""
        which = {"before": before, "key_id": key_id, "exchange_id": exchange_id}
        async with held(self._file):
            waited = await self._outbox.delete(**which)  # type: ignore[arg-type]
        return waited + await self._server().delete(**which)  # type: ignore[arg-type]

    async def aclose(self) -> None:
        """See `FeedbackStore.aclose`. What waits in the outbox stays there for the next process."""
        self._stop.set()
        if self._draining is not None:
            await asyncio.wait([self._draining])
        await self._outbox.aclose()
        if self._store is not None:
            await self._store.aclose()

    def _at_hand(self) -> SqlStore:
        """The server, unless it is known to be away: to find that out again takes seconds."""
        if self._away:
            raise StoreUnavailable("the database is away")
        return self._server()

    def _server(self) -> SqlStore:
        if self._store is None:
            raise StoreUnavailable("the database was not reached yet")
        return self._store

    async def _held(self, signals: Sequence[Signal]) -> bool:
        """Whether any of their exchanges is in the outbox."""
        return bool(await self._outbox.read(merge.known_exchanges, {signal.exchange_id for signal in signals}))

    def _lost(self, error: StoreUnavailable) -> None:
        """Ask the server for nothing more until `_drain` finds it back: each attempt may take seconds."""
        if not self._away:
            _log.error("the log's database is away, records go to the outbox until it is back: %s", error)
        self._away = True
        self._drain_soon()

    def _drain_soon(self) -> None:
        if (self._draining is None or self._draining.done()) and not self._stop.is_set():
            self._draining = asyncio.create_task(self._drain())

    async def _drain(self) -> None:
        """Try until the server is there and the outbox empty, or holds only what the server refuses. Never raises."""
        while not self._stop.is_set():
            try:
                refused = await self._copy()
                self._waiting = await self._outbox.count()
                if not self._away and self._waiting <= refused:
                    return
            except StoreUnavailable as error:
                self._away = True
                _log.debug("the log's database is still away: %s", error)
            except FeedbackError as error:
                _log.error("the outbox cannot be copied: %s", error)
            except Exception as error:  # noqa: BLE001 - it must outlive whatever one attempt meets
                _log.error("copying the outbox failed", exc_info=error)
            try:
                await asyncio.wait_for(self._stop.wait(), self._retry_s)
            except TimeoutError:
                continue

    async def _copy(self) -> int:
        """Copy all that waits, a page at a time; how many exchanges the server refused. Raises `StoreUnavailable`."""
        if self._store is None:
            self._store = await asyncio.to_thread(SqlStore.open, self._url)
        await self._store.merge([])  # does it answer?
        if self._away:
            _log.warning("the log's database is back, %d exchanges wait in the outbox", await self._outbox.count())
        self._away = False
        refused, after = 0, None
        while not self._stop.is_set():
            async with held(self._file):
                page = await self._outbox.page(after)
                copied = await self._copied(page)
                self._waiting -= await self._outbox.delete_copied(copied)
            if not page:
                break
            if len(copied) < len(page):
                refused += len(page) - len(copied)
                after = (page[-1][0].created_at, page[-1][0].id)
        return refused

    async def _copied(self, page: list[Logged]) -> list[Logged]:
        """Copy these; those that the server has now. A record that it refuses stays, and holds up no other."""
        try:
            await self._server().merge(page)
        except StoreUnavailable:
            raise
        except FeedbackError as error:
            if len(page) > 1:
                return [each for one in page for each in await self._copied([one])]
            _log.error("exchange %s stays in the outbox, the database refuses it: %s", page[0][0].id, error)
            return []
        return page
