"""Every store of suites, by the same laws, and how many an owner may have."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from feedback import InMemoryStore, SqlStore, StoreUnavailable, SuiteStore, TooManySuites, stored_suites
from feedback.sql import suites as sql
from feedback.sql.outbox import OutboxStore
from tests.contracts.suites import SuiteContract, stored
from tests.feedback.postgres import Cluster


class TestInMemory(SuiteContract):
    @pytest.fixture
    def store(self) -> SuiteStore:
        return InMemoryStore()


class TestSqlite(SuiteContract):
    @pytest.fixture
    async def store(self, tmp_path: Path) -> AsyncIterator[SuiteStore]:
        store = SqlStore.open(tmp_path / "log.db")
        yield store
        await store.aclose()


async def test_while_the_server_is_away_suites_are_too(tmp_path: Path) -> None:
    store = OutboxStore.open("postgresql://nobody@127.0.0.1:1/none", tmp_path / "outbox.db", retry_s=60)
    for ask in (store.put_suite(stored()), store.suite("b2:1", "key-a"), store.suites("key-a")):
        with pytest.raises(StoreUnavailable):
            await ask
    await store.aclose()


@pytest.mark.postgres
class TestPostgres(SuiteContract):
    @pytest.fixture
    async def store(self, cluster: Cluster) -> AsyncIterator[SuiteStore]:
        store = SqlStore.open(cluster.new_database())
        yield store
        await store.aclose()


@pytest.mark.parametrize("sqlite", [False, True])
async def test_an_owner_has_so_many_and_others_are_not_held_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, sqlite: bool
) -> None:
    monkeypatch.setattr(stored_suites, "MOST", 2)
    monkeypatch.setattr(sql, "MOST", 2)
    log = SqlStore.open(tmp_path / "log.db") if sqlite else InMemoryStore()
    store: SuiteStore = log
    for number in range(2):
        await store.put_suite(stored(f"b2:{number}"))
    with pytest.raises(TooManySuites, match="2 suites"):
        await store.put_suite(stored("b2:2"))
    assert not await store.put_suite(stored("b2:1", public=True))
    assert await store.put_suite(stored("b2:2", owner="key-b"))
    await log.aclose()
