"""What a round says while it works."""

from __future__ import annotations

from typing import Protocol


class Told(Protocol):
    """Whoever is told; the console command prints it."""

    def begin(self, step: str) -> None:
        """A step begins."""
        ...

    def progress(self, done: int, total: int, what: str) -> None:
        """So much of a step is done."""
        ...

    def line(self, text: str) -> None:
        """Something worth keeping on the screen."""
        ...


class Silent:
    """Tells nobody."""

    def begin(self, step: str) -> None:
        """See `Told`."""

    def progress(self, done: int, total: int, what: str) -> None:
        """See `Told`."""

    def line(self, text: str) -> None:
        """See `Told`."""
