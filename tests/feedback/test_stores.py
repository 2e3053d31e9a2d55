"""Every store, by the same laws."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from feedback import InMemoryStore, SqlStore
from tests.contracts.feedback import Store, StoreContract
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


@pytest.mark.postgres
class TestPostgres(StoreContract):
    @pytest.fixture
    async def store(self, cluster: Cluster) -> AsyncIterator[Store]:
        store = SqlStore.open(cluster.new_database())
        yield store
        await store.aclose()
