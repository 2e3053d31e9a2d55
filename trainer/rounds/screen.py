"""A round on a terminal: a line a step, and a bar under it; where there is no terminal, lines alone."""

from __future__ import annotations

import time
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

_EVERY_S = 30.0
"""Between two lines of progress where there is no bar."""


class Screen:
    """`Told` on a console."""

    def __init__(self, console: Console) -> None:
        self._console = console
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
        )
        self._bar = Progress(*columns, console=console, disable=not console.is_terminal, transient=True)
        self._task = self._bar.add_task("", total=None, visible=False)
        self._began, self._said = time.monotonic(), 0.0

    def __enter__(self) -> Screen:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def begin(self, step: str) -> None:
        """See `Told`."""
        self._said = time.monotonic()
        self._bar.reset(self._task, visible=False)  # its clock too: what is left of this step is told by this step
        self._bar.console.print(f"[bold]{step}[/bold] [dim]at {time.monotonic() - self._began:.0f} s[/dim]")

    def progress(self, done: int, total: int, what: str) -> None:
        """See `Told`."""
        self._bar.update(self._task, description=what, completed=done, total=total, visible=True)
        now = time.monotonic()
        if not self._console.is_terminal and now - self._said >= _EVERY_S:
            self._said = now
            self.line(f"{what}: {done} of {total}")

    def line(self, text: str) -> None:
        """See `Told`."""
        self._bar.console.print("  " + text, markup=False, highlight=False, soft_wrap=True)
