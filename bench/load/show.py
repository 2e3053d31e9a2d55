"""A load on a terminal."""

from __future__ import annotations

from collections.abc import Mapping

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from bench.load.client import End
from bench.load.result import Class, Load

_WIDTH = 160
"""Where no terminal says how wide it is."""
_MOST_REASONS = 3
_ENDS = (End.CANCELLED, End.REFUSED, End.FAILED, End.UNFINISHED)
HEADINGS = ("asked/s", "answered/s", "first text, ms", "whole, ms", "ms/token", *_ENDS)


def print_load(load: Load) -> None:
    """A class a row, then what else there is to say."""
    out = Console()
    out = out if out.is_terminal else Console(width=_WIDTH)
    grid = Grid(title=f"{load.model} at {load.url}", title_justify="left", box=SIMPLE)
    grid.add_column("class")
    for heading in HEADINGS:
        grid.add_column(heading, justify="right", no_wrap=True)
    for each in load.classes:
        grid.add_row(each.name, *cells(each))
    out.print(grid)
    for text in facts(load):
        out.print(Text(text))


def cells(found: Class) -> tuple[str, ...]:
    """One class under `HEADINGS`; empty where nothing was measured."""
    counts = [str(found.ends.get(end, 0)) for end in _ENDS]
    each = "" if found.ms_per_token is None else f"{found.ms_per_token:.3g}"
    rates = (f"{found.asked_per_s:.2f}", f"{found.answered_per_s:.2f}")
    return (*rates, _ms(found.first_s), _ms(found.whole_s), each, *counts)


def facts(load: Load) -> list[str]:
    """How to read it, a sentence each."""
    settings = load.settings
    best = "as rerank.num_candidates" if settings["reranks"] else "as n"
    told = [
        f"times are p50 / p95 / p99 from the moment a request was due; {settings['seconds']:g} s, "
        f"{settings['typists']} typists, {settings['candidates']} candidates {best}, seed {settings['seed']}",
        f"sent late by, ms: {_ms(load.late_s)}",
    ]
    if load.cancels is None:
        told.append("from a cancel to the end of its work: this server has no metric for it, or does not show it")
    else:
        told.append(f"from a cancel to the end of its work, ms: {_ms(load.cancels.s)} ({load.cancels.count} of them)")
    for each in load.classes:
        for why, count in list(each.why.items())[:_MOST_REASONS]:
            told.append(f"{each.name}, {count} times: {why}")
    told.append(f"clients on {load.host.cores} cores of {load.host.cpu}; {load.created_at}")
    return told


def _ms(found: Mapping[str, float]) -> str:
    return " / ".join(f"{1000 * value:.0f}" for value in found.values()) or "none"
