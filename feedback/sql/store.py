"""The log in a SQL database: one thread writes in groups, others read."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from sqlalchemy import URL, Connection, Engine, create_engine, make_url

from feedback.answers import Answer
from feedback.checks import check_exchange, check_signal
from feedback.contest import Observation
from feedback.errors import StoreFailed, StoreUnavailable, UnknownExchange
from feedback.lossless import dumps, loads
from feedback.sql import lines, postgres, reads, sqlite, suites
from feedback.sql.answers import answers
from feedback.sql.deletes import MOST, delete_copied, delete_some
from feedback.sql.merge import Merged, merge
from feedback.sql.outcomes import outcomes
from feedback.sql.schema import migrate
from feedback.sql.seam import translated
from feedback.sql.writer import Writer
from feedback.stored_suites import StoredSuite
from feedback.types import Exchange, Logged, Purpose, Receipt, Signal

READERS = 2
PAUSE_S = 0.02
"""Between two steps of a deletion, for the writer."""

P = ParamSpec("P")
T = TypeVar("T")


class SqlStore:
    """`FeedbackStore` and `FeedbackLog` over a database. Made by `open`; its methods belong to one event loop."""

    def __init__(self, writing: Engine, reading: Engine) -> None:
        self._writing = writing
        self._reading = reading
        self._writer = Writer(writing)
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="feedback-reader")
        self._closed = False

    @classmethod
    def open(cls, url: str | URL | Path, *, create: bool = True) -> SqlStore:
        """Open a database by its URL, or a SQLite file by its path, and bring its tables up to date. Blocks.

        Raises `SchemaTooNew`, or `StoreFailed` where there is none (unless `create`) or it cannot be opened.
        """
        with translated():
            url = sqlite.url_of(url) if isinstance(url, Path) else make_url(url)
        if postgres.is_postgres(url):
            url = postgres.url_of(url)
        file = sqlite.file_of(url)
        if file is not None and not file.exists():
            if not create:
                raise StoreFailed(f"there is no database at {file}")
            _make_file(file)
        writing, reading = _engine(url, 1, writes=True), _engine(url, READERS, writes=False)
        try:
            with translated(), writing.begin() as connection:
                migrate(connection)
        except BaseException:
            writing.dispose()
            raise
        return cls(writing, reading)

    @property
    def commits(self) -> int:
        """Commits so far; fewer than the records written when several came at once."""
        return self._writer.commits

    async def record(self, exchange: Exchange) -> None:
        """See `FeedbackStore.record`."""
        check_exchange(exchange)
        await self._writer.write(exchange=exchange)

    async def signal(self, signal: Signal, *, key_id: str | None = None) -> Receipt:
        """See `FeedbackStore.signal`."""
        return (await self.signals([signal], key_id=key_id))[0]

    async def signals(self, signals: Sequence[Signal], *, key_id: str | None = None) -> tuple[Receipt, ...]:
        """See `FeedbackStore.signals`."""
        for signal in signals:
            check_signal(signal)
        return await self._writer.write(signals=signals, key_id=key_id)

    async def get(self, exchange_id: str) -> tuple[Exchange, tuple[Signal, ...]]:
        """See `FeedbackStore.get`."""
        found = await self.read(reads.one, exchange_id)
        if found is None:
            raise UnknownExchange(exchange_id)
        return found

    async def exchanges(
        self, *, since: datetime | None = None, purpose: Purpose | None = None
    ) -> AsyncIterator[tuple[Exchange, tuple[Signal, ...]]]:
        """See `FeedbackLog.exchanges`; holds one page of 100 at a time."""
        after: reads.Place | None = None
        while page := await self.read(reads.page, after, since, purpose):
            for logged in page:
                yield logged
            last = page[-1][0]
            after = (last.created_at, last.id)

    async def outcomes(self, since: datetime) -> list[Observation]:
        """See `ContestLog.outcomes`."""
        return await self.read(outcomes, since)

    async def answers(
        self, since: datetime, *, key_id: str | None, prompt_hashes: Sequence[str] = (), beginning: str = ""
    ) -> list[Answer]:
        """See `AnswerLog.answers`."""
        return await self.read(answers, since, key_id, prompt_hashes, beginning)

    async def lines(self, *, since: datetime | None = None, purpose: Purpose | None = None) -> AsyncIterator[str]:
        """Of each exchange the line that an export has of it (`feedback.export.to_line`), without making records.

        While a page of 100 is used the next one is read.
        """

        def read(after: reads.Place | None) -> asyncio.Future[tuple[list[str], reads.Place | None]]:
            return asyncio.ensure_future(self.read(lines.page, after, since, purpose))

        coming = read(None)
        try:
            while True:
                page, after = await coming
                if after is None:
                    return
                coming = read(after)
                for line in page:
                    yield line
        finally:
            coming.cancel()
            await asyncio.gather(coming, return_exceptions=True)

    async def count(self, *, since: datetime | None = None, purpose: Purpose | None = None) -> int:
        """How many exchanges `exchanges` would give."""
        return await self.read(reads.count, since, purpose)

    async def count_prompts(self, *, since: datetime | None = None) -> int:
        """How many different prompts users sent at `since` or later."""
        return await self.read(reads.count_prompts, since)

    async def delete(
        self, *, before: datetime | None = None, key_id: str | None = None, exchange_id: str | None = None
    ) -> int:
        """See `FeedbackStore.delete`. In steps, between which others write: stopped half-way, the oldest are gone."""
        if before is None and key_id is None and exchange_id is None:
            raise ValueError("nothing says which exchanges to delete")
        deleted = 0
        which = {"before": before, "key_id": key_id, "exchange_id": exchange_id}
        while (gone := await self._write(partial(delete_some, **which))) == MOST:  # type: ignore[arg-type]
            deleted += gone
            await asyncio.sleep(PAUSE_S)
        return deleted + gone

    async def put_suite(self, suite: StoredSuite) -> bool:
        """See `SuiteStore.put_suite`."""
        try:
            return await self._write(lambda connection: suites.put(connection, suite))
        except StoreUnavailable:
            raise
        except StoreFailed:  # on PostgreSQL: somebody put the same in the same moment
            return await self._write(lambda connection: suites.put(connection, suite))

    async def suite(self, suite_id: str, owner: str) -> StoredSuite | None:
        """See `SuiteStore.suite`."""
        return await self.read(suites.one, suite_id, owner)

    async def suites(self, owner: str) -> list[StoredSuite]:
        """See `SuiteStore.suites`."""
        return await self.read(suites.listed, owner)

    async def delete_suites(self, owner: str) -> int:
        """Delete all that the owner stored, public ones too; how many. Raises `StoreFailed`."""
        return await self._write(lambda connection: suites.delete_all(connection, owner))

    async def merge(self, logged: Sequence[Logged]) -> Merged:
        """Add the records that are not there, with their ids, in one transaction.

        Raises `InvalidExchange`, `InvalidSignal`, `StoreFailed`.
        """
        for exchange, signals in logged:
            check_exchange(exchange)
            for signal in signals:
                check_signal(signal)
        return await self._write(lambda connection: merge(connection, logged))

    async def delete_copied(self, copied: Sequence[Logged]) -> int:
        """Delete what was copied elsewhere; how many exchanges went. One that got another signal meanwhile stays.

        Raises `StoreFailed`.
        """
        return await self._write(lambda connection: delete_copied(connection, copied))

    async def page(self, after: reads.Place | None = None) -> list[Logged]:
        """The next 100 records behind a place, oldest first; fewer at the end. Raises `StoreFailed`."""
        return await self.read(reads.page, after, None, None)

    async def _write(self, change: Callable[[Connection], T]) -> T:
        """Make a change in a transaction beside the writer's, on a thread. Raises `StoreFailed`."""
        if self._closed:
            raise StoreFailed("the store is closed")

        def make() -> T:
            with translated(), self._writing.begin() as connection:
                return change(connection)

        return await asyncio.to_thread(make)

    async def read(self, question: Callable[Concatenate[Connection, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The answer to a question, asked in a read transaction on a reader's thread. Raises `StoreFailed`."""
        if self._closed:
            raise StoreFailed("the store is closed")

        def ask() -> T:
            with translated(), self._reading.begin() as connection:
                return question(connection, *args, **kwargs)

        return await asyncio.get_running_loop().run_in_executor(self._readers, ask)

    async def aclose(self) -> None:
        """See `FeedbackStore.aclose`."""
        if not self._closed:
            self._closed = True
            await asyncio.to_thread(self._close)

    def _close(self) -> None:
        self._writer.close()
        self._readers.shutdown()
        self._reading.dispose()
        self._writing.dispose()


def _engine(url: URL, connections: int, *, writes: bool) -> Engine:
    with translated():
        engine = create_engine(
            url,
            pool_size=connections,
            max_overflow=0,
            json_serializer=dumps,
            hide_parameters=True,
            **(postgres.arguments(url) if postgres.is_postgres(url) else {"json_deserializer": loads}),
        )
    if engine.dialect.name == "sqlite":
        sqlite.prepare(engine, writes=writes)
    elif engine.dialect.name == "postgresql":
        postgres.prepare(engine)
    return engine


def _make_file(file: Path) -> None:
    """For the owner only, whoever may look into the folder: the log holds people's code."""
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        file.touch(mode=0o600)  # what SQLite puts beside it has the same mode
    except OSError as error:
        raise StoreFailed(f"cannot make {file}: {error.strerror}") from error
