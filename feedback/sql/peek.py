"""A look at a database that changes nothing: is it there, whose tables has it, how much is in it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import URL, NullPool, create_engine, func, make_url, select

from feedback.errors import StoreFailed
from feedback.sql import postgres, sqlite
from feedback.sql.schema import NEWEST, current
from feedback.sql.seam import translated
from feedback.sql.tables import exchanges


@dataclass(frozen=True, slots=True)
class Peek:
    """What is there."""

    schema: str | None
    """The revision of its tables; None where the log was never there."""
    exchanges: int

    @property
    def is_newest(self) -> bool:
        """Whether its tables are those of this Touchstone."""
        return self.schema == NEWEST


def peek(url: str) -> Peek:
    """Look at a database. Blocks. Raises `StoreFailed` where it cannot be read, `StoreUnavailable` where it is away."""
    with translated():
        parsed = make_url(url)
    file = sqlite.file_of(parsed)
    if file is None:
        return _of_server(postgres.url_of(parsed))
    return _of_file(file) if file.exists() else Peek(None, 0)


def _of_server(url: URL) -> Peek:
    with translated():
        engine = create_engine(url, poolclass=NullPool, hide_parameters=True, **postgres.arguments(url))
        postgres.prepare(engine)
        with engine.connect() as connection:
            schema = current(connection)
            count = select(func.count()).select_from(exchanges)
            return Peek(schema, 0 if schema is None else connection.execute(count).scalar_one())


def _of_file(file: Path) -> Peek:
    try:
        with closing(sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True)) as database:
            if not database.execute("SELECT 1 FROM sqlite_master WHERE name = 'feedback_schema'").fetchone():
                return Peek(None, 0)
            [schema] = database.execute("SELECT version_num FROM feedback_schema").fetchone()
            [count] = database.execute("SELECT count(*) FROM exchanges").fetchone()
    except sqlite3.Error as error:
        raise StoreFailed(f"{file}: {error}") from error
    return Peek(str(schema), int(count))
