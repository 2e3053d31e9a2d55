"""Every store, by the same laws."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from feedback import InMemoryStore, Logged, OutboxStore, SqlStore
from tests.contracts.feedback import RoundTripContract, Shared, Store, StoreContract
from tests.feedback.postgres import Cluster


class TestInMemory(StoreContract):
    @pytest.fixture
    async def store(self) -> AsyncIterator[Store]:
        store = InMemoryStore()
        yield store
        await store.aclose()


class TestSqlite(StoreContract):
    @pytest.fixture
    async def store(self, tmp_path: Path) -> AsyncIterator[Store]:
        store = SqlStore.open(tmp_path / "log.db")
        yield store
        await store.aclose()


class _Readable(OutboxStore):
    """What its server holds, for the contract."""

    def exchanges(self, **which: Any) -> AsyncIterator[Logged]:
        return self._server().exchanges(**which)


class TestWithOutbox(StoreContract):
    """A SQLite file stands in for the server; `test_outbox.py` has it away."""

    @pytest.fixture
    async def store(self, tmp_path: Path) -> AsyncIterator[Store]:
        store = _Readable("", SqlStore.open(tmp_path / "log.db"), tmp_path / "outbox.db", 60)
        yield store
        await store.aclose()


@pytest.mark.postgres
class TestPostgres(StoreContract):
    @pytest.fixture
    async def store(self, cluster: Cluster) -> AsyncIterator[Store]:
        store = SqlStore.open(cluster.new_database())
        yield store
        await store.aclose()


def _shared(url: Path | str) -> Iterator[Shared]:
    with asyncio.Runner() as runner:
        store = SqlStore.open(url)
        yield runner, store
        runner.run(store.aclose())


class TestSqliteRoundTrip(RoundTripContract):
    @pytest.fixture(scope="class")
    @classmethod
    def shared(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shared]:
        yield from _shared(tmp_path_factory.mktemp("shared") / "log.db")


@pytest.mark.postgres
class TestPostgresRoundTrip(RoundTripContract):
    @pytest.fixture(scope="class")
    @classmethod
    def shared(cls, cluster: Cluster) -> Iterator[Shared]:
        yield from _shared(cluster.new_database())
