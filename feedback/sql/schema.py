"""Bring a database's tables to the newest revision, under a lock."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect

from feedback.errors import SchemaTooNew
from feedback.sql.tables import VERSION_TABLE

MIGRATIONS = Path(__file__).resolve().parent.parent / "migrations"


def migrate(connection: Connection) -> None:
    """Upgrade to the newest revision, in the transaction that the connection has begun.

    That transaction is the lock: on SQLite it holds the write lock, so of two processes that start at once the second
    finds the work done. Raises `SchemaTooNew` where a newer Touchstone was here.
    """
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    script = ScriptDirectory.from_config(config)
    newest, found = script.get_current_head(), current(connection)
    if found is not None and found not in {revision.revision for revision in script.walk_revisions()}:
        raise SchemaTooNew(found, newest or "none")
    if found != newest:
        command.upgrade(config, "head")


def current(connection: Connection) -> str | None:
    """The database's revision; None when the log was never there."""
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    return MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE}).get_current_revision()
