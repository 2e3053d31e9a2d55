"""What is being done, on standard error: one line that changes on a terminal, else a line now and then."""

from __future__ import annotations

import sys
import time

EVERY_S = 10.0
"""Between two lines of the same work where there is no terminal."""


class Progress:
    """Says where long work stands."""

    def __init__(self) -> None:
        self._live = sys.stderr.isatty()
        self._what = ""
        self._last_s = 0.0

    def say(self, what: str, detail: str = "") -> None:
        """`what` is the work, `detail` how far it is; a new `what` is always told."""
        now_s = time.monotonic()
        if self._live:
            sys.stderr.write(f"\r\x1b[K{what} {detail}")
        elif what != self._what or now_s - self._last_s >= EVERY_S:
            sys.stderr.write(f"{what} {detail}".rstrip() + "\n")
        else:
            return
        sys.stderr.flush()
        self._what, self._last_s = what, now_s

    def end(self) -> None:
        """Leave no half line behind."""
        if self._live and self._what:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
