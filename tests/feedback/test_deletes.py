"""What is deleted goes with all that hangs on it, and nothing else goes; in both databases."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Connection, Table, func, make_url, select
from typer.testing import CliRunner

from feedback import SqlStore
from feedback.cli import app
from feedback.deleting import delete_for_good
from feedback.sql.deletes import MOST
from feedback.sql.holding import held
from feedback.sql.tables import candidates, signals
from feedback.verify import problems
from tests.contracts.suites import stored
from tests.feedback.records import BEGIN, exchange, signal


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[SqlStore]:
    where = tmp_path / "log.db"
    store = SqlStore.open(where if request.param == "sqlite" else request.getfixturevalue("cluster").new_database())
    yield store
    await store.aclose()


async def rest(store: SqlStore) -> tuple[int, int, int]:
    """Exchanges, candidates, signals."""

    def count(connection: Connection, table: Table) -> int:
        return int(connection.execute(select(func.count()).select_from(table)).scalar_one())

    return await store.count(), await store.read(count, candidates), await store.read(count, signals)


async def test_what_is_old_goes_in_steps(store: SqlStore) -> None:
    asked = [exchange(number) for number in range(MOST + 50)]
    await asyncio.gather(*(store.record(each) for each in asked))
    await asyncio.gather(*(store.signal(signal(each)) for each in asked))
    assert await store.delete(before=BEGIN + timedelta(minutes=MOST + 10)) == MOST + 10
    assert [each async for each, _ in store.exchanges()] == asked[MOST + 10 :]
    assert await rest(store) == (40, 120, 40)
    assert [problem async for problem in problems(store)] == []
    assert await store.delete(before=BEGIN) == 0


async def test_by_key_and_by_id_with_its_shadow(store: SqlStore) -> None:
    mine, yours, nobodys = exchange(1, key_id="me"), exchange(2, key_id="you"), exchange(3)
    shadow = replace(exchange(4), shadow_of=yours.id)
    for each in (mine, yours, nobodys, shadow):
        await store.record(each)
    await store.signal(signal(mine))
    assert await store.delete(key_id="me") == 1
    assert await store.delete(exchange_id=yours.id) == 2
    assert await store.delete(exchange_id="nobody") == 0
    assert [each async for each, _ in store.exchanges()] == [nobodys]
    assert await rest(store) == (1, 3, 0)


async def test_nothing_named_deletes_nothing(store: SqlStore) -> None:
    await store.record(exchange(1))
    with pytest.raises(ValueError, match="which"):
        await store.delete()
    assert await store.count() == 1


def test_the_commands(tmp_path: Path) -> None:
    async def fill() -> list[str]:
        store = SqlStore.open(tmp_path / "touchstone.db")
        now = datetime.now(UTC)
        asked = [replace(exchange(n), created_at=now - timedelta(days=10 * n), key_id=f"k{n}") for n in range(5)]
        asked[2] = replace(asked[2], key_id=None)
        for each in asked:
            await store.record(each)
        await store.aclose()
        return [each.id for each in asked]

    ids = asyncio.run(fill())

    def run(*words: str) -> tuple[int, str]:
        result = CliRunner().invoke(app, [*words, "--state-dir", str(tmp_path)])
        return result.exit_code, result.output

    assert run("prune", "--keep-days", "25")[1].startswith("2 exchanges deleted")
    log = tmp_path / "touchstone.db"
    assert run("delete", "--id", ids[0]) == (0, f"1 exchanges deleted from {log}\n")
    assert run("delete", "--id", ids[0]) == (1, f"0 exchanges deleted from {log}\n")
    assert run("delete", "--key", "k1") == (0, f"1 exchanges deleted from {log}, 0 stored suites\n")
    code, said = run("delete", "--key", "k1")
    assert (code, said.splitlines()[1]) == (1, "nothing was logged of a key of the id k1 (touchstone keys list)")
    assert run("delete", "--key", "local") == (0, f"1 exchanges deleted from {log}, 0 stored suites\n")
    for words in (["delete"], ["delete", "--id", "a", "--key", "b"], ["prune"], ["prune", "--keep-days", "0"]):
        assert run(*words)[0] == 2


@pytest.mark.parametrize("kind", ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
async def test_a_key_goes_with_its_suites_and_what_waits_in_the_outbox(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str
) -> None:
    url = None if kind == "sqlite" else request.getfixturevalue("cluster").new_database()
    mine, yours, waits = exchange(1, key_id="me"), exchange(2, key_id="you"), exchange(3, key_id="me")
    log = SqlStore.open(url or tmp_path / "touchstone.db")
    for each in (mine, yours):
        await log.record(each)
    for owner in ("me", "you"):
        await log.put_suite(stored(owner=owner, public=True))
    outbox = SqlStore.open(tmp_path / "outbox.db")
    await outbox.record(waits)
    words = ["--state-dir", str(tmp_path), *(["--database", url] if url else [])]
    result = await asyncio.to_thread(CliRunner().invoke, app, ["delete", "--key", "me", *words])
    where = make_url(url).render_as_string() if url else tmp_path / "touchstone.db"
    said = f"2 exchanges deleted from {where} (1 of them from the outbox), 1 stored suites\n"
    assert (result.exit_code, result.output) == (0, said)
    assert [each async for each, _ in log.exchanges()] == [yours]
    assert await outbox.count() == 0
    assert [suite.owner for suite in await log.suites("me")] == ["you"]
    await outbox.record(waits)
    result = await asyncio.to_thread(CliRunner().invoke, app, ["delete", "--id", waits.id, *words])
    assert (result.exit_code, result.output) == (0, f"1 exchanges deleted from {where} (1 of them from the outbox)\n")
    await log.aclose()
    await outbox.aclose()


def test_the_database_is_away(tmp_path: Path) -> None:
    pytest.importorskip("psycopg", reason="psycopg is not installed (the extra `postgres`)")
    nowhere = ["--database", "postgresql://nobody@/log?host=/nowhere", "--state-dir", str(tmp_path)]
    result = CliRunner().invoke(app, ["delete", "--key", "me", *nowhere])
    assert (result.exit_code, result.stderr[:30]) == (1, "touchstone feedback: the datab")

    async def fill() -> None:
        outbox = SqlStore.open(tmp_path / "outbox.db")
        await outbox.record(exchange(1, key_id="me"))
        await outbox.aclose()

    asyncio.run(fill())
    result = CliRunner().invoke(app, ["delete", "--key", "me", *nowhere])
    assert result.exit_code == 1
    assert "1 exchanges were deleted from the outbox" in result.stderr
    assert "do it again: the database cannot be used now" in result.stderr


async def test_what_is_being_copied_is_waited_for(tmp_path: Path) -> None:
    outbox = SqlStore.open(tmp_path / "outbox.db")
    await outbox.record(exchange(1, key_id="me"))
    await outbox.aclose()
    log = SqlStore.open(tmp_path / "log.db")
    async with held(tmp_path / "outbox.db"):
        deleting = asyncio.create_task(
            delete_for_good(lambda store: store.delete(key_id="me"), tmp_path / "log.db", tmp_path / "outbox.db")
        )
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(deleting), 0.1)
        await log.record(exchange(1, key_id="me"))  # copied
    assert (await deleting).exchanges == 2
    assert await log.count() == 0
    await log.aclose()
