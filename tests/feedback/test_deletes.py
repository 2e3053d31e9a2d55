"""What is deleted goes with all that hangs on it, and nothing else goes; in both databases."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Connection, Table, func, select
from typer.testing import CliRunner

from feedback import SqlStore
from feedback.cli import app
from feedback.sql.deletes import MOST
from feedback.sql.tables import candidates, signals
from feedback.verify import problems
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
        for each in asked:
            await store.record(each)
        await store.aclose()
        return [each.id for each in asked]

    ids = asyncio.run(fill())

    def run(*words: str) -> tuple[int, str]:
        result = CliRunner().invoke(app, [*words, "--state-dir", str(tmp_path)])
        return result.exit_code, result.output

    assert run("prune", "--keep-days", "25")[1].startswith("2 exchanges deleted")
    assert run("delete", "--id", ids[0]) == (0, "1 exchanges deleted\n")
    assert run("delete", "--id", ids[0]) == (1, "0 exchanges deleted\n")
    assert run("delete", "--key", "k1") == (0, "1 exchanges deleted\n")
    for words in (["delete"], ["delete", "--id", "a", "--key", "b"], ["prune"], ["prune", "--keep-days", "0"]):
        assert run(*words)[0] == 2
