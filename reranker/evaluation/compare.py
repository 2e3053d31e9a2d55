"""Two evaluations of the same problems, held against each other problem by problem."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from reranker.evaluation.errors import NotComparable
from reranker.evaluation.measures import Estimate, difference
from reranker.evaluation.report import SCHEMA_VERSION, Report


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One measure in both; `change` is after minus before, its interval paired by problem."""

    name: str
    k: int
    before: float
    after: float
    change: Estimate
    problems: int
    """Problems that both have the measure for; the means are over them."""

    @property
    def is_clear(self) -> bool:
        """Whether the interval leaves out zero."""
        return self.change.low > 0 or self.change.high < 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What changed from one evaluation to the other."""

    before: Report
    after: Report
    shared: int
    """Problems judged in both."""
    differences: tuple[Difference, ...]

    def to_data(self) -> dict[str, Any]:
        """JSON's own types."""
        return {
            "kind": "touchstone comparison",
            "schema_version": SCHEMA_VERSION,
            "before": _named(self.before),
            "after": _named(self.after),
            "suite": asdict(self.after.suite),
            "shared": self.shared,
            "differences": [asdict(each) for each in self.differences],
        }


def compare(before: Report, after: Report) -> Comparison:
    """The paired differences of every measure that both have. Raises `NotComparable`, saying why."""
    ours, theirs = before.suite, after.suite
    if ours.content_hash != theirs.content_hash:
        raise NotComparable(
            f"the suites differ: {ours.name} is {ours.content_hash}, {theirs.name} is {theirs.content_hash}"
        )
    other = {record.task_id: record for record in after.judged}
    pairs = [(record, other[record.task_id]) for record in before.judged if record.task_id in other]
    if not pairs:
        raise NotComparable(f"no problem of {ours.name} was judged in both")
    has = {(measure.name, measure.k) for measure in after.measures()}
    found = []
    for name, k in ((measure.name, measure.k) for measure in before.measures()):
        values = [(first.value(name, k), second.value(name, k)) for first, second in pairs] if (name, k) in has else []
        both = [(first, second) for first, second in values if first is not None and second is not None]
        if both:
            first, second = [pair[0] for pair in both], [pair[1] for pair in both]
            change = difference(first, second)
            means = sum(first) / len(both), sum(second) / len(both)
            found.append(Difference(name=name, k=k, before=means[0], after=means[1], change=change, problems=len(both)))
    return Comparison(before=before, after=after, shared=len(pairs), differences=tuple(found))


def _named(report: Report) -> dict[str, Any]:
    return {
        "created_at": report.created_at,
        "source": asdict(report.source),
        "settings": asdict(report.settings),
        "problems": len(report.records),
    }
