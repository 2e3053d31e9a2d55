"""All that only SQLite knows: pragmas, transactions, its integrity check.

WAL lets readers and the writer pass each other. `synchronous=FULL` syncs the WAL at every commit: what is acknowledged
survives a killed process and a lost power supply (`NORMAL` would survive only the first).
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, event, make_url

from feedback.errors import StoreFailed

BEGIN_WRITING = "BEGIN IMMEDIATE"
BUSY_TIMEOUT_MS = 10_000
"""How long to wait for another process's write."""


def url_of(path: Path) -> URL:
    """The URL of a database file."""
    return URL.create("sqlite", database=str(path))


def file_of(url: str | URL) -> Path | None:
    """The file of a SQLite URL; None for another database. Raises `StoreFailed` for a database in memory."""
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite":
        return None
    if not parsed.database or parsed.database == ":memory:" or "mode=memory" in str(url):
        raise StoreFailed("a SQLite database in memory cannot keep a log; use a file, or InMemoryStore")
    return Path(parsed.database)


def prepare(engine: Engine, *, writes: bool) -> None:
    """Set up every connection the engine will make.

    Python's sqlite3 begins transactions late, at the first write; here they begin when SQLAlchemy says so, a writer's
    at once with the write lock: a transaction that reads and then writes could otherwise fail half-way.
    """
    begin = BEGIN_WRITING if writes else "BEGIN"

    @event.listens_for(engine, "connect")
    def _connect(connection: Any, _record: Any) -> None:
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
        _enter_wal(cursor)
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.execute("PRAGMA fullfsync=ON")  # macOS: a plain fsync does not reach the disk there
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql(begin)


def _enter_wal(cursor: Any) -> None:
    """Switch the file to WAL. SQLite does not wait by itself when several processes do this to a new file at once."""
    until = time.monotonic() + BUSY_TIMEOUT_MS / 1000
    while True:
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
            time.sleep(0.005)
        else:
            return


def problems(connection: Connection) -> Iterator[str]:
    """What SQLite itself finds wrong with the file, page by page and reference by reference."""
    for (finding,) in connection.exec_driver_sql("PRAGMA integrity_check"):
        if finding != "ok":
            yield f"database: {finding}"
    for table, rowid, parent, _ in connection.exec_driver_sql("PRAGMA foreign_key_check"):
        yield f"{table} row {rowid}: its {parent} row is missing"
