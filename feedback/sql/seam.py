"""The one place where SQLAlchemy's errors become ours. Messages never carry parameters: those are people's code."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import (
    DBAPIError,
    IntegrityError,
    InterfaceError,
    OperationalError,
    SQLAlchemyError,
    StatementError,
)

from feedback.errors import FeedbackError, InvalidExchange, StoreFailed, StoreUnavailable


def translate(error: Exception) -> FeedbackError:
    """Our error for one that came up while the database was at work."""
    if isinstance(error, FeedbackError):
        return error
    if isinstance(error, IntegrityError):
        return StoreFailed(f"the database refuses the record: {error.orig}")
    if isinstance(error, OperationalError | InterfaceError) and not isinstance(error.orig, sqlite3.Error):
        return StoreUnavailable(f"the database cannot be used now: {str(error.orig).strip()}")
    if isinstance(error, DBAPIError):
        return StoreFailed(f"the database failed: {error.orig}")
    if isinstance(error, StatementError) and isinstance(error.orig, TypeError | ValueError | RecursionError):
        return InvalidExchange(f"not plain data: {error.orig}")
    return StoreFailed(f"{type(error).__name__}: {error}")


@contextmanager
def translated() -> Iterator[None]:
    """Errors of reading, drivers that are missing, rows that do not hold what the log wrote, as `FeedbackError`."""
    try:
        yield
    except (SQLAlchemyError, ImportError, ValueError, TypeError, KeyError) as error:
        raise translate(error) from error
