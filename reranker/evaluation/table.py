"""Reports and comparisons as tables on a terminal; shares in percent."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from rich.box import SIMPLE
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from reranker.evaluation.compare import Comparison
from reranker.evaluation.measures import Estimate
from reranker.evaluation.record import GREEDY, ORACLE, RANDOM
from reranker.evaluation.report import Measure, Report

_SHOWN_PROBLEMS = 5
_PIPE_COLUMNS = 120


def console() -> Console:
    """Standard output; wide enough for every table where no terminal says how wide it is."""
    plain = Console()
    return plain if plain.is_terminal else Console(width=_PIPE_COLUMNS)


def label(name: str) -> str:
    """What a measure is called for readers."""
    return {RANDOM: "random (pass@1)", ORACLE: "oracle (pass@k)", GREEDY: "greedy"}.get(name, name)


def percent(estimate: Estimate, digits: int = 1) -> str:
    """`47.9 [41, 55]`."""
    return f"{100 * estimate.value:.{digits}f} [{100 * estimate.low:.0f}, {100 * estimate.high:.0f}]"


def points(estimate: Estimate) -> str:
    """The same for a difference, in percentage points with their sign."""
    return f"{100 * estimate.value:+.1f} [{100 * estimate.low:+.1f}, {100 * estimate.high:+.1f}]"


def title(report: Report) -> str:
    """What was measured, in a line."""
    return f"{report.suite.name}: {report.source.model or report.source.place}"


def described(report: Report) -> str:
    """What tells one measurement of a suite from another."""
    source, settings = report.source, report.settings
    drawn = "" if settings.temperature is None else f"temperature {settings.temperature:g}"
    named = source.model or source.place, source.weights, source.dtype
    what = *named, f"{settings.n} samples", drawn, report.created_at
    return ", ".join(filter(None, what))


def print_report(report: Report) -> None:
    """The whole report."""
    parts: list[RenderableType] = [Text(title(report), style="bold"), _main(report)]
    parts += _groups(report)
    parts += [Text(line) for line in facts(report)]
    for record in report.unjudged[:_SHOWN_PROBLEMS]:
        parts.append(Text(f"not judged: {record.unjudged}", style="yellow"))
    console().print(Group(*parts))


def facts(report: Report) -> list[str]:
    """Counts, settings, model and times, a sentence each."""
    counts, source, settings, host = report.counts, report.source, report.settings, report.host
    classes = ", ".join(f"{name} {number}" for name, number in counts.classes.items())
    unjudged = f"; {len(report.unjudged)} with tests that could not run" if report.unjudged else ""
    lines = [
        f"{counts.judged} of {report.suite.problems} problems judged{unjudged}; {counts.samples} samples, "
        f"{counts.distinct} distinct: {classes}",
        "  ".join(filter(None, (source.kind, source.engine, source.model, source.weights, source.dtype, source.place))),
    ]
    if settings.temperature is not None and source.kind != "samples":
        tokens = "" if settings.max_tokens is None else f", at most {settings.max_tokens} tokens"
        lines.append(f"temperature {settings.temperature:g}, top-p {settings.top_p or 1:g}{tokens}")
    each = report.ms_per_token
    rate = "" if each is None else f", {counts.tokens} tokens, {each:.2f} ms a token (judging included)"
    lines.append(f"{report.wall_s:.1f} s{rate}, on {host.cores} cores of {host.cpu}")
    lines.append("percent of problems solved, with 95 % bootstrap intervals over problems")
    return lines


def print_comparison(comparison: Comparison) -> None:
    """Both means and the paired difference, a measure a row; a clear one is marked."""
    table = Table(
        title=f"{comparison.after.suite.name}, {comparison.shared} problems in both", title_justify="left", box=SIMPLE
    )
    for heading in ("measure", "k"):
        table.add_column(heading)
    for heading in ("before, %", "after, %", "change, points", "problems"):
        table.add_column(heading, justify="right")
    for each in comparison.differences:
        table.add_row(
            label(each.name),
            str(each.k),
            f"{100 * each.before:.1f}",
            f"{100 * each.after:.1f}",
            Text(points(each.change), style="bold" if each.is_clear else ""),
            str(each.problems),
        )
    out = console()
    out.print(table)
    out.print(Text(f"before: {described(comparison.before)}"))
    out.print(Text(f"after:  {described(comparison.after)}"))
    out.print(Text("95 % intervals, paired by problem; bold where zero is outside"))


def _main(report: Report) -> Table:
    measures = report.measures()
    ks = sorted({measure.k for measure in measures})
    table = Table(box=SIMPLE, show_edge=False)
    table.add_column("chosen")
    for k in ks:
        table.add_column(f"of {k}", justify="right")
    found = {(measure.name, measure.k): measure for measure in measures}
    gains = {gain.name: points(gain.estimate) for gain in report.gains()}  # the last is that at the largest k
    if gains:
        table.add_column("over random, points", justify="right")
    for name in _names(measures):
        gain = (gains.get(name, ""),) if gains else ()
        table.add_row(label(name), *(_cell(found.get((name, k)), report) for k in ks), *gain)
    return table


def _cell(measure: Measure | None, report: Report) -> str:
    if measure is None:
        return ""
    fewer = measure.problems != report.counts.judged
    return percent(measure.estimate) + (f" ({measure.problems} problems)" if fewer else "")


def _groups(report: Report) -> Iterator[Table]:
    """A table a tag: the best choices at the largest k, in whole percents."""
    k = report.settings.ks[-1]
    names = _names(report.measures())
    groups = report.groups()
    for tag in dict.fromkeys(group.tag for group in groups):
        table = Table(box=SIMPLE, show_edge=False)
        table.add_column(tag)
        table.add_column("problems", justify="right")
        for name in names:
            table.add_column(name if name in (GREEDY, RANDOM) else f"{name} of {k}", justify="right", no_wrap=True)
        for group in (group for group in groups if group.tag == tag):
            found = {
                each.name: each.estimate for each in group.measures if each.k == k or each.name in (GREEDY, RANDOM)
            }
            cells = [percent(found[name], digits=0) if name in found else "" for name in names]
            table.add_row(str(group.value), str(group.problems), *cells)
        yield table


def _names(measures: Sequence[Measure] | Iterable[Measure]) -> list[str]:
    return list(dict.fromkeys(measure.name for measure in measures))
