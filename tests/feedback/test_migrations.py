"""The migrations make the tables that the code means, from nothing and under contention, and never run backwards."""

import multiprocessing
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, text

from feedback import SchemaTooNew, SqlStore
from feedback.sql import sqlite
from feedback.sql.schema import NEWEST, alembic_config, current, migrate
from feedback.sql.tables import VERSION_TABLE, metadata
from tests.feedback.records import exchange


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[Connection]:
    engine = create_engine(sqlite.url_of(tmp_path / "log.db"))
    sqlite.prepare(engine, writes=True)
    with engine.begin() as connection:
        yield connection
    engine.dispose()


def test_from_nothing_to_what_the_code_means(connection: Connection) -> None:
    assert current(connection) is None
    migrate(connection)
    assert current(connection) == NEWEST
    context = MigrationContext.configure(
        connection, opts={"version_table": VERSION_TABLE, "compare_type": True, "compare_server_default": True}
    )
    assert compare_metadata(context, metadata) == []


def test_the_newest_revision_is_the_one_named(connection: Connection) -> None:
    assert ScriptDirectory.from_config(alembic_config(connection)).get_current_head() == NEWEST


def test_again_changes_nothing(connection: Connection) -> None:
    migrate(connection)
    before = connection.execute(text("SELECT name, sql FROM sqlite_master")).all()
    migrate(connection)
    assert connection.execute(text("SELECT name, sql FROM sqlite_master")).all() == before


def test_other_tables_are_left_alone(connection: Connection) -> None:
    connection.execute(text("CREATE TABLE alembic_version (version_num TEXT)"))
    connection.execute(text("INSERT INTO alembic_version VALUES ('server-7')"))
    migrate(connection)
    assert connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one() == "server-7"


def test_a_failed_migration_leaves_nothing(tmp_path: Path) -> None:
    engine = create_engine(sqlite.url_of(tmp_path / "log.db"))
    sqlite.prepare(engine, writes=True)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE signals (id TEXT)"))  # in the way of the last table
    with pytest.raises(Exception, match="already exists"), engine.begin() as connection:
        migrate(connection)
    with engine.begin() as connection:
        assert connection.execute(text("SELECT name FROM sqlite_master WHERE type = 'table'")).scalars().all() == [
            "signals"
        ]
    engine.dispose()


async def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "log.db"
    await SqlStore.open(file).aclose()
    engine = create_engine(sqlite.url_of(file))
    with engine.begin() as connection:
        connection.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = '0099'"))
    engine.dispose()
    with pytest.raises(SchemaTooNew, match=f"0099.*{NEWEST}") as refusal:
        SqlStore.open(file)
    assert (refusal.value.found, refusal.value.known) == ("0099", NEWEST)


def _open_at_once(file: Path, ready: "multiprocessing.synchronize.Barrier") -> None:
    ready.wait()
    SqlStore.open(file)


async def test_processes_that_start_at_once(tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    ready = spawn.Barrier(2)
    starters = [spawn.Process(target=_open_at_once, args=(tmp_path / "log.db", ready)) for _ in range(2)]
    for starter in starters:
        starter.start()
    for starter in starters:
        starter.join()
    assert [starter.exitcode for starter in starters] == [0, 0]
    store = SqlStore.open(tmp_path / "log.db")
    await store.record(exchange(1))
    await store.aclose()
