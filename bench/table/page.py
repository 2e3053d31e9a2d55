"""A table as one HTML page that needs no network and no script: four plots, the table, and how it was measured."""

from __future__ import annotations

from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

from markupsafe import Markup

from bench.table.plots import Bar, bars
from bench.table.result import Line, Table
from bench.table.show import HEADINGS, cells, facts, percent, title
from reranker.evaluation import fill


def write_page(path: Path, table: Table) -> None:
    """Write the page."""
    path.write_text(render(table), encoding="utf-8")


def render(table: Table) -> str:
    """The page's HTML."""
    template = (files(__package__) / "page.html.jinja").read_text("utf-8")
    run = [line for line in table.lines if line.memory is not None]
    context = {
        "title": title(table),
        "headings": HEADINGS,
        "rows": [(line, cells(line)) for line in run],
        "plots": _plots(run),
        "facts": facts(table),
    }
    return fill(template, context)


def _plots(lines: list[Line]) -> list[tuple[str, Markup]]:
    """A heading and a picture for each figure that any row has."""
    asked: tuple[tuple[str, str, Callable[[Line, int], Bar | None]], ...] = (
        ("Memory in use, GB", "memory", _memory),
        ("Milliseconds a token, one candidate (less is better)", "latency", _latency),
        ("Tokens a second, 16 candidates", "rate", _rate),
        ("pass@1, % of problems, 95 % interval", "quality", _quality),
    )
    found = []
    for heading, key, bar in asked:
        values = [each for number, line in enumerate(lines) if (each := bar(line, number)) is not None]
        if values:
            found.append((heading, bars(heading, key, values)))
    return found


def _memory(line: Line, number: int) -> Bar | None:
    if line.memory is None:
        return None
    size = line.memory.gpu_bytes or line.memory.used_pss_bytes
    where = " on GPUs" if line.memory.gpu_bytes else ""
    return Bar(line.name, number, size / 1e9, f"{size / 1e9:.3g}{where}")


def _latency(line: Line, number: int) -> Bar | None:
    speed = line.speed(1)
    return None if speed is None else Bar(line.name, number, speed.ms_per_token, f"{speed.ms_per_token:.3g}")


def _rate(line: Line, number: int) -> Bar | None:
    speed = line.speed(16)
    return None if speed is None else Bar(line.name, number, speed.tokens_per_s, f"{speed.tokens_per_s:.4g}")


def _quality(line: Line, number: int) -> Bar | None:
    if line.quality is None:
        return None
    share = line.quality.sampled
    return Bar(line.name, number, share.value, percent(share), (share.low, share.high))
