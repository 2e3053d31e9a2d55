"""What the SQL store adds to the contract: shared commits, faults that stay alone, round trips, refusals to open."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import URL, Connection, Engine, event, text

from feedback import InvalidExchange, SqlStore, StoreFailed
from feedback.export import from_line
from feedback.sql.writer import MAX_OUTSTANDING
from tests.feedback.records import exchange, signal


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqlStore]:
    store = SqlStore.open(tmp_path / "log.db")
    yield store
    await store.aclose()


async def outcomes(*writes: Any) -> list[Any]:
    return await asyncio.gather(*writes, return_exceptions=True)


async def test_concurrent_records_share_commits(store: SqlStore) -> None:
    asked = [exchange(number) for number in range(100)]
    await asyncio.gather(*(store.record(each) for each in asked))
    assert store.commits <= 20
    assert [each async for each, _ in store.exchanges()] == asked
    before = store.commits
    await asyncio.gather(*(store.signal(signal(each)) for each in asked))
    assert store.commits - before <= 20


async def test_alone_a_record_is_committed_at_once(store: SqlStore) -> None:
    for number in range(3):
        await store.record(exchange(number))
        assert store.commits == number + 1


async def test_a_faulty_record_fails_alone(store: SqlStore) -> None:
    asked = [exchange(number) for number in range(60)]
    faulty = {
        7: (replace(asked[7], id=asked[6].id), StoreFailed),
        20: (replace(asked[20], options={"x": object()}), InvalidExchange),
        40: (replace(asked[40], model=None), StoreFailed),  # type: ignore[arg-type]
        41: (replace(asked[41], options={"x": 10**5000}), InvalidExchange),
    }
    sent = [faulty[number][0] if number in faulty else each for number, each in enumerate(asked)]
    results = await outcomes(*(store.record(each) for each in sent))
    assert {number for number, result in enumerate(results) if result is not None} == set(faulty)
    for number, (_, refusal) in faulty.items():
        assert type(results[number]) is refusal
    stored = {each.id async for each, _ in store.exchanges()}
    assert stored == {each.id for number, each in enumerate(asked) if number not in faulty}


async def test_messages_hold_no_text_of_users(store: SqlStore) -> None:
    asked = replace(exchange(1), reason="secret")
    nameless = replace(asked, model=None)  # type: ignore[arg-type]
    for faulty in (nameless, replace(asked, options={"x": object()})):
        with pytest.raises((StoreFailed, InvalidExchange)) as refusal:
            await store.record(faulty)
        assert "secret" not in str(refusal.value)


async def test_more_at_once_than_the_queue_holds(store: SqlStore) -> None:
    asked = exchange(0)
    await store.record(asked)
    results = await outcomes(*(store.signal(signal(asked)) for _ in range(MAX_OUTSTANDING + 500)))
    assert not any(isinstance(result, Exception) for result in results)
    assert len((await store.get(asked.id))[1]) == MAX_OUTSTANDING + 500


async def test_a_cancelled_record_harms_nobody(store: SqlStore) -> None:
    asked = [exchange(number) for number in range(40)]
    tasks = [asyncio.create_task(store.record(each)) for each in asked]
    await asyncio.sleep(0)
    for task in tasks[::2]:
        task.cancel()
    results = await outcomes(*tasks)
    assert all(result is None for result in results[1::2])
    stored = {each.id async for each, _ in store.exchanges()}
    assert {each.id for each in asked[1::2]} <= stored


async def test_closing_waits_for_what_was_taken_in(tmp_path: Path) -> None:
    store = SqlStore.open(tmp_path / "log.db")
    asked = [exchange(number) for number in range(30)]
    tasks = [asyncio.create_task(store.record(each)) for each in asked]
    await asyncio.sleep(0)
    await store.aclose()
    assert await outcomes(*tasks) == [None] * 30
    again = SqlStore.open(tmp_path / "log.db")
    assert [each async for each, _ in again.exchanges()] == asked
    await again.aclose()


async def test_pages_join_without_gaps(store: SqlStore) -> None:
    asked = [exchange(number // 7) for number in range(250)]
    await asyncio.gather(*(store.record(each) for each in asked))
    found = [each async for each, _ in store.exchanges()]
    assert found == sorted(asked, key=lambda each: (each.created_at, each.id))
    assert await store.count() == 250
    assert [from_line(line)[0] async for line in store.lines()] == found
    assert len([line async for line in store.lines(since=asked[-1].created_at, purpose="traffic")]) == 5
    assert [line async for line in store.lines(purpose="eval")] == []


async def test_every_lookup_uses_an_index(store: SqlStore) -> None:
    """A scan would make every signal slower with every signal there is."""
    plans: list[str] = []

    @event.listens_for(Engine, "before_cursor_execute")
    def explain(
        connection: Connection, cursor: Any, statement: str, parameters: Any, _context: Any, many: bool
    ) -> None:
        if statement.startswith("SELECT"):
            plan = cursor.execute("EXPLAIN QUERY PLAN " + statement, parameters).fetchall()
            plans.extend(f"{step[3]} in {statement}" for step in plan)

    asked = exchange(1)
    try:
        await store.record(asked)
        await store.signals([signal(asked, idempotency_key=key, source=key) for key in "ab"])
        await store.get(asked.id)
        async for _ in store.exchanges(since=asked.created_at, purpose="traffic"):
            pass
        async for _ in store.exchanges():
            pass
        async for _ in store.lines(since=asked.created_at, purpose="traffic"):
            pass
    finally:
        event.remove(Engine, "before_cursor_execute", explain)
    assert len(plans) >= 8
    # The first page of the whole log reads its time index from the start: a scan, but a bounded and ordered one.
    scans = [plan for plan in plans if plan.startswith("SCAN") and "USING INDEX ix_exchanges_created_at" not in plan]
    assert scans == []


async def test_a_full_disk_is_named_and_passes(store: SqlStore, tmp_path: Path) -> None:
    asked = exchange(1)
    with store._writing.connect() as connection:
        pages = connection.execute(text("PRAGMA page_count")).scalar_one()
        connection.execute(text(f"PRAGMA max_page_count={pages + 2}"))
    big = replace(asked, reason="x" * 100_000)
    results = await outcomes(*(store.record(replace(big, id=str(number))) for number in range(5)))
    assert [type(result) for result in results] == [StoreFailed] * 5
    assert "full" in str(results[0])
    with store._writing.connect() as connection:
        connection.execute(text("PRAGMA max_page_count=1000000"))
    await store.record(big)
    assert await store.count() == 1


async def test_another_process_may_write_meanwhile(store: SqlStore, tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / "log.db", isolation_level=None)
    other.execute("CREATE TABLE keys (name TEXT)")
    other.execute("BEGIN IMMEDIATE")
    task = asyncio.create_task(store.record(exchange(1)))
    assert await store.count() == 0, "readers do not wait"
    assert not task.done()
    other.execute("COMMIT")
    await task
    other.close()


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("sqlite://", "memory"),
        ("sqlite:///:memory:", "memory"),
        ("nonsense", "parse"),
        ("carrierpigeon://coop/log", "carrierpigeon"),
        ("sqlite:////proc/nowhere/log.db", "cannot make"),
        (Path("/proc/version"), "database|open"),
    ],
)
def test_what_cannot_be_opened_is_named(url: str | Path, words: str) -> None:
    with pytest.raises(StoreFailed, match=words):
        SqlStore.open(url)


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("remember the milk" * 100)
    with pytest.raises(StoreFailed, match="not a database"):
        SqlStore.open(path)


def test_a_new_file_is_its_owners_alone_wherever_it_is(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    with asyncio.Runner() as runner:
        store = SqlStore.open(tmp_path / "log.db")
        runner.run(store.record(exchange(1)))
        modes = {file.name: file.stat().st_mode & 0o777 for file in tmp_path.iterdir()}
        assert modes == dict.fromkeys(("log.db", "log.db-wal", "log.db-shm"), 0o600)
        runner.run(store.aclose())


async def test_opening_makes_the_folder_for_its_owner_only(tmp_path: Path) -> None:
    file = tmp_path / "100% état?" / "log.db"
    with pytest.raises(StoreFailed, match="no database"):
        SqlStore.open(file, create=False)
    assert not file.parent.exists()
    await SqlStore.open(file).aclose()
    assert file.parent.stat().st_mode & 0o777 == 0o700
    await SqlStore.open(URL.create("sqlite", database=str(file)), create=False).aclose()
