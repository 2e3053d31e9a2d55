"""Errors of the log, one tree.

FeedbackError
├── StoreFailed        the database could not do it; nothing of the record was kept
│   ├── StoreUnavailable  a database server cannot be reached, or not now; the same may work later
│   └── SchemaTooNew   the database was written by a newer Touchstone; carries both revisions
├── InvalidExchange    an exchange that cannot be stored as it is; names the field
├── InvalidSignal      a signal whose value does not fit its type; names the field
├── UnknownExchange    no exchange has this id
├── UnknownChoice      the exchange was not answered with this choice
├── ForeignExchange    the exchange belongs to another key
└── TooManySuites      its owner has stored as many suites as it may
"""

from __future__ import annotations


class FeedbackError(Exception):
    """The log could not do what was asked."""


class StoreFailed(FeedbackError):
    """The store could not do it; nothing of the record was kept."""


class StoreUnavailable(StoreFailed):
    """A database server cannot be reached, or cannot do it now; the same may work later."""


class SchemaTooNew(StoreFailed):
    """The database was written by a newer Touchstone."""

    def __init__(self, found: str, known: str) -> None:
        super().__init__(found, known)
        self.found = found
        self.known = known

    def __str__(self) -> str:
        return (
            f"the database has schema {self.found}, this Touchstone knows up to {self.known}: "
            "install the newer Touchstone, or name another database"
        )


class InvalidExchange(FeedbackError):
    """The exchange cannot be stored as it is."""


class InvalidSignal(FeedbackError):
    """The signal's value does not fit its type."""


class UnknownExchange(FeedbackError):
    """No exchange has this id."""


class UnknownChoice(FeedbackError):
    """The exchange was not answered with this choice."""


class ForeignExchange(FeedbackError):
    """The exchange belongs to another key."""


class TooManySuites(FeedbackError):
    """An owner has stored as many suites as it may."""

    def __init__(self, most: int) -> None:
        super().__init__(most)
        self.most = most

    def __str__(self) -> str:
        return f"{self.most} suites are stored already, which is the most"
