"""All that only PostgreSQL knows: its driver, what a session is set to, its lock for migrations.

What is acknowledged must survive a crash of the server, so a session asks for `synchronous_commit` whatever the
cluster's default is. Connections are tried before use: after a restart of the server the old ones are dead.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import URL, Connection, Engine, event, text

from feedback.errors import StoreFailed
from feedback.lossless import loads

DRIVER = "postgresql+psycopg"
_MIGRATION_LOCK = 0x746F756368
"""Any number that nobody else takes: "touch"."""
_SETTINGS = {
    "connect_timeout": 5,
    "tcp_user_timeout": 10_000,
    "options": "-c timezone=UTC -c synchronous_commit=on -c idle_in_transaction_session_timeout=60000",
}
"""Seconds and milliseconds; the URL's own query goes before them."""


def is_postgres(url: URL) -> bool:
    """Whether the URL names a PostgreSQL database, by whichever spelling."""
    return url.get_backend_name() in ("postgresql", "postgres")


def url_of(url: URL) -> URL:
    """The URL for the driver that Touchstone has. Raises `StoreFailed` for another driver, and where it is missing."""
    if url.drivername not in ("postgres", "postgresql", DRIVER):
        raise StoreFailed(f"database_url: the driver {url.drivername!r} is not supported; write postgresql://")
    try:
        import psycopg  # noqa: F401
    except ImportError as error:
        raise StoreFailed(f"database_url: {error}; PostgreSQL needs it: pip install 'touchstone[postgres]'") from error
    return url.set(drivername=DRIVER)


def arguments(url: URL) -> dict[str, Any]:
    """What the engine needs beyond its URL."""
    settings = {name: value for name, value in _SETTINGS.items() if name not in url.query}
    return {"connect_args": settings, "pool_pre_ping": True, "json_deserializer": _loads}


def _loads(data: str | bytes) -> Any:
    return loads(data.decode() if isinstance(data, bytes) else data)  # psycopg gives the bytes of a JSON column


def prepare(engine: Engine) -> None:
    """Refuse a database that cannot hold every text, at the first connection. Raises `StoreFailed` there."""

    @event.listens_for(engine, "connect")
    def _connect(connection: Any, _record: Any) -> None:
        encoding = connection.info.parameter_status("server_encoding")
        if encoding != "UTF8":
            raise StoreFailed(f"the database has encoding {encoding}, the log needs UTF8: CREATE DATABASE ... UTF8")


def lock_migrations(connection: Connection) -> None:
    """Hold off other processes that start at once, to the end of the transaction."""
    connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _MIGRATION_LOCK})
