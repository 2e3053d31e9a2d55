"""A table on a terminal."""

from __future__ import annotations

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from bench.table.result import Line, Speed, Table
from reranker.evaluation import Estimate

_WIDTH = 160
"""Where no terminal says how wide it is."""
HEADINGS = ("weights", "loaded", "in use", "GPU", "ms/token", "tok/s, n=1", "tok/s, n=16", "greedy, %", "pass@1, %")
"""Sizes in GB."""


def print_table(table: Table) -> None:
    """The rows, then those that could not run with their reasons, then what it all was measured on."""
    out = Console()
    out = out if out.is_terminal else Console(width=_WIDTH)
    grid = Grid(title=title(table), title_justify="left", box=SIMPLE)
    for heading in ("engine", "type", "computed in"):
        grid.add_column(heading)
    for heading in HEADINGS:
        grid.add_column(heading, justify="right", no_wrap=True)
    for line in table.lines:
        if line.memory is not None:
            grid.add_row(line.engine, line.dtype, line.effective, *cells(line))
    out.print(grid)
    for text in facts(table):
        out.print(Text(text))


def title(table: Table) -> str:
    """What was measured where, in a line."""
    return f"{table.model} on {table.host.cores} cores of {table.host.cpu}"


def cells(line: Line) -> tuple[str, ...]:
    """One row under `HEADINGS`; empty where nothing was measured. Shares carry their interval."""
    memory = line.memory
    one, many = line.speed(1), line.speed(16)
    quality = line.quality
    return (
        _gb(line.weights_bytes),
        _gb(memory.loaded_pss_bytes if memory else None),
        _gb(memory.used_pss_bytes if memory else None),
        _gb(memory.gpu_bytes if memory else None),
        "" if one is None else f"{one.ms_per_token:.3g}",
        _rate(one),
        _rate(many),
        "" if quality is None else percent(quality.greedy),
        "" if quality is None else percent(quality.sampled),
    )


def facts(table: Table) -> list[str]:
    """What could not run and why, against the reference, how it was measured, and on what, a sentence each."""
    told = failures(table)
    for line in table.lines:
        if line.quality is not None and line.quality.over_reference:
            changes = ", ".join(f"{name} {points(change)}" for name, change in line.quality.over_reference.items())
            told.append(f"{line.name} minus {table.reference}, points, paired: {changes}")
    told += table.notes
    settings = table.settings
    if any(line.speeds for line in table.lines):
        how = "in turns" if table.in_turns else "one after another"
        told.append(
            f"speed: medians of {settings['rounds']} rounds {how}, {settings['tokens']} tokens a candidate, prompt "
            f"included, {settings['threads']} threads; in parentheses times the slowness of the fastest row"
        )
    judged = [line.quality for line in table.lines if line.quality is not None]
    if judged:
        told.append(
            f"pass@1: {judged[0].problems} problems of {table.suite.split()[0]}, {judged[0].n} samples each at "
            "temperature 0.8; 95 % intervals over problems"
        )
    told.append("memory, GB of 10^9 bytes: proportional share (PSS) of each row's process and its children, by itself")
    host = table.host
    told.append(
        f"{table.created_at}, {host.system}, {table.memory_bytes / 1e9:.0f} GB, "
        f"{', '.join(table.gpus) or 'no GPU'}; {'; '.join(_versions(table))}"
    )
    return told


def failures(table: Table) -> list[str]:
    """Rows with the reason they share."""
    names: dict[tuple[str, str], list[str]] = {}
    for line in table.lines:
        if line.failed:
            names.setdefault(("stopped" if line.memory else "not run", line.failed), []).append(line.name)
    return [f"{what}: {', '.join(rows)}: {reason}" for (what, reason), rows in names.items()]


def percent(estimate: Estimate) -> str:
    """`47.9 [41, 55]`."""
    return f"{100 * estimate.value:.1f} [{100 * estimate.low:.0f}, {100 * estimate.high:.0f}]"


def points(estimate: Estimate) -> str:
    """The same for a difference, in percentage points with their sign."""
    return f"{100 * estimate.value:+.1f} [{100 * estimate.low:+.1f}, {100 * estimate.high:+.1f}]"


def _gb(size: int | None) -> str:
    return "" if size is None else f"{size / 1e9:.3f}" if size < 1e9 else f"{size / 1e9:.2f}"


def _rate(speed: Speed | None) -> str:
    return "" if speed is None else f"{speed.tokens_per_s:.4g} ({speed.times_fastest:.2f})"


def _versions(table: Table) -> list[str]:
    """Each environment once."""
    found = (" ".join(f"{name} {number}" for name, number in line.versions.items()) for line in table.lines)
    return [text for text in dict.fromkeys(found) if text]
