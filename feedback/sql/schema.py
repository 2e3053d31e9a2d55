"""Bring a database's tables to the newest revision, under a lock.

Alembic takes a good part of a start-up to import, so it is imported only where there is something to do.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import Connection, inspect, text

from feedback.errors import SchemaTooNew
from feedback.sql import postgres
from feedback.sql.tables import VERSION_TABLE

MIGRATIONS = Path(__file__).resolve().parent.parent / "migrations"
NEWEST = "0005"
"""The newest revision in `migrations/versions`."""


def migrate(connection: Connection) -> None:
    """Upgrade to the newest revision, in the transaction that the connection has begun.

    That transaction is the lock: on SQLite it holds the write lock, on PostgreSQL an advisory one, so of two processes
    that start at once the second finds the work done. Raises `SchemaTooNew` where a newer Touchstone was here.
    """
    if connection.dialect.name == "postgresql":
        postgres.lock_migrations(connection)
    found = current(connection)
    if found == NEWEST:
        return
    from alembic import command
    from alembic.script import ScriptDirectory

    config = alembic_config(connection)
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if found is not None and found not in known:
        raise SchemaTooNew(found, NEWEST)
    command.upgrade(config, "head")


def current(connection: Connection) -> str | None:
    """The database's revision; None when the log was never there."""
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    return connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar_one_or_none()  # noqa: S608


def alembic_config(connection: Connection) -> Any:
    """Alembic's configuration, without a file: where the migrations are and what to run them on."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config
