"""The log in PostgreSQL: its schema, its round trips, its refusals, beyond the laws in `test_stores.py`."""

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, make_url, text

from feedback import SqlStore, StoreFailed, StoreUnavailable
from feedback.export import from_line
from feedback.sql.postgres import DRIVER
from feedback.sql.schema import NEWEST, alembic_config, current, migrate
from feedback.sql.stats import stats
from feedback.sql.tables import VERSION_TABLE, metadata
from feedback.verify import problems
from tests.feedback.postgres import Cluster
from tests.feedback.records import exchange, signal

pytestmark = pytest.mark.postgres


@pytest.fixture
async def store(cluster: Cluster) -> AsyncIterator[SqlStore]:
    store = SqlStore.open(cluster.new_database())
    yield store
    await store.aclose()


@pytest.mark.parametrize("first", ["0001", "0002", NEWEST])
def test_from_every_released_schema_to_what_the_code_means(cluster: Cluster, first: str) -> None:
    engine = create_engine(make_url(cluster.new_database()).set(drivername=DRIVER))
    with engine.begin() as connection:
        command.upgrade(alembic_config(connection), first)
    with engine.begin() as connection:
        assert current(connection) == first
        migrate(connection)
        assert current(connection) == NEWEST
        opts = {"version_table": VERSION_TABLE, "compare_type": True, "compare_server_default": True}
        assert compare_metadata(MigrationContext.configure(connection, opts=opts), metadata) == []
    engine.dispose()


async def test_processes_that_start_at_once(cluster: Cluster) -> None:
    url = cluster.new_database()
    with ThreadPoolExecutor(4) as threads:
        stores = list(threads.map(SqlStore.open, [url] * 4))
    await stores[0].record(exchange(1))
    assert await stores[3].count() == 1
    for store in stores:
        await store.aclose()


async def test_concurrent_records_share_commits_and_pages_join(store: SqlStore) -> None:
    asked = [exchange(number // 7) for number in range(250)]
    await asyncio.gather(*(store.record(each) for each in asked))
    assert store.commits <= 50
    found = [each async for each, _ in store.exchanges()]
    assert found == sorted(asked, key=lambda each: (each.created_at, each.id))
    assert [from_line(line)[0] async for line in store.lines()] == found
    assert await store.count() == 250
    assert [problem async for problem in problems(store)] == []


async def test_a_faulty_record_fails_alone(store: SqlStore) -> None:
    asked = [exchange(number) for number in range(20)]
    sent = [replace(each, model=None) if number == 7 else each for number, each in enumerate(asked)]  # type: ignore[arg-type]
    results = await asyncio.gather(*(store.record(each) for each in sent), return_exceptions=True)
    assert [number for number, result in enumerate(results) if result is not None] == [7]
    assert type(results[7]) is StoreFailed


async def test_counts(store: SqlStore) -> None:
    asked = exchange(1)
    await store.record(asked)
    await store.signals([signal(asked), signal(asked, "rating", 4)])
    counted: Any = (await store.read(stats)).to_data()
    assert (counted["exchanges"], counted["candidates"]) == (1, 3)
    assert [each["type"] for each in counted["signals"]] == ["accept", "rating"]
    assert await store.count_prompts() == 1


def test_another_encoding_is_refused(cluster: Cluster) -> None:
    with pytest.raises(StoreFailed, match="LATIN1"):
        SqlStore.open(cluster.new_database(encoding="LATIN1"))


def test_no_server_and_another_driver(cluster: Cluster) -> None:
    with pytest.raises(StoreUnavailable):
        SqlStore.open("postgresql://nobody@/log?host=/nowhere")
    with pytest.raises(StoreFailed, match="psycopg2"):
        SqlStore.open("postgresql+psycopg2://nobody@/log")


async def test_a_restart_of_the_server_is_passed_over(cluster: Cluster, store: SqlStore) -> None:
    await store.record(exchange(1))
    with store._writing.connect() as connection:  # what a restart does to every connection there is
        connection.execute(text("SELECT 1"))
    cluster.kill()
    with pytest.raises(StoreUnavailable):
        await store.record(exchange(2))
    cluster.start()
    await store.record(exchange(3))
    assert await store.count() == 2
