"""What goes wrong in a benchmark that users run.

BenchError
    InvalidOption   an option cannot be used; carries its name
    RowFailed       a row of the table cannot be run here, or broke; the message is the reason the table gives
    ServerFailed    the server under load cannot be used at all
"""

from __future__ import annotations


class BenchError(Exception):
    """A benchmark cannot be run."""


class InvalidOption(BenchError):
    """An option of a benchmark cannot be used."""

    def __init__(self, field: str, fault: str) -> None:
        super().__init__(f"{field}: {fault}")
        self.field, self.fault = field, fault


class RowFailed(BenchError):
    """One way to serve the model cannot be measured here."""


class ServerFailed(BenchError):
    """The server to put under load does not answer as one of OpenAI's API."""
