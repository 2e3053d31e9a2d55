"""What each class of a load was answered, as numbers and as JSON."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from bench.load.client import Answer, End
from bench.load.traffic import BEST_OF, CHAT, TYPING
from reranker.evaluation import Host

SCHEMA_VERSION = 1
KIND = "touchstone load"
PERCENTS = (50, 95, 99)


@dataclass(frozen=True, slots=True, kw_only=True)
class Class:
    """One kind of request."""

    name: str
    asked_per_s: float
    answered_per_s: float
    """Of those whose answer was whole while requests were still sent."""
    ends: Mapping[str, int]
    """How many, by what became of them."""
    why: Mapping[str, int]
    """Refusals and failures by what the server said."""
    first_s: Mapping[str, float]
    """Percentiles from due to first text, of all that streamed any, cancelled ones too; empty where nothing did."""
    whole_s: Mapping[str, float]
    """Percentiles from due to end, of those answered; empty where none was."""
    ms_per_token: float | None
    """Median over those answered: the whole time over all tokens sampled for it. None where no reply tells them."""
    tokens: int
    """Of those answered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancels:
    """What the server's own metric tells of the work that was stopped meanwhile, whoever stopped it."""

    count: int
    s: Mapping[str, float]
    """Percentiles from stop to end of all work, interpolated in the histogram's buckets; empty where none was."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """One load of one server."""

    schema_version: int = SCHEMA_VERSION
    created_at: str
    """ISO 8601, UTC."""
    url: str
    model: str
    host: Host
    """Of the clients; the server may be elsewhere."""
    settings: Mapping[str, Any]
    classes: tuple[Class, ...]
    late_s: Mapping[str, float]
    """Percentiles of how much later than planned requests were sent: what the clients' own host cost."""
    cancels: Cancels | None
    """None where the server has no such metric, or does not show it to this key."""


def classes_of(answers: Sequence[Answer], seconds: float) -> tuple[Class, ...]:
    """One a kind that was sent."""
    by_kind = {kind: [each for each in answers if each.kind == kind] for kind in (TYPING, CHAT, BEST_OF)}
    return tuple(_class(kind, found, seconds) for kind, found in by_kind.items() if found)


def _class(name: str, answers: Sequence[Answer], seconds: float) -> Class:
    answered = [each for each in answers if each.end is End.ANSWERED]
    costs = [1000 * each.whole_s / each.tokens for each in answered if each.whole_s is not None and each.tokens]
    in_time = sum(each.whole_s is not None and each.due_s + each.whole_s <= seconds for each in answered)
    ends = Counter(each.end for each in answers)
    return Class(
        name=name,
        asked_per_s=len(answers) / seconds,
        answered_per_s=in_time / seconds,
        ends={end.value: ends[end] for end in End if ends[end]},
        why=dict(Counter(each.why for each in answers if each.why).most_common()),
        first_s=percentiles([each.first_s for each in answers if each.first_s is not None]),
        whole_s=percentiles([each.whole_s for each in answered if each.whole_s is not None]),
        ms_per_token=statistics.median(costs) if costs else None,
        tokens=sum(each.tokens or 0 for each in answered),
    )


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """`p50`, `p95`, `p99`, interpolated; empty where there is nothing."""
    if not values:
        return {}
    if len(values) == 1:
        return {f"p{percent}": values[0] for percent in PERCENTS}
    cuts = statistics.quantiles(values, n=100, method="inclusive")
    return {f"p{percent}": cuts[percent - 1] for percent in PERCENTS}


def in_buckets(buckets: Mapping[float, float]) -> Cancels:
    """Count and percentiles of a Prometheus histogram: cumulative counts by upper edge, infinity among them.

    A percentile is interpolated in its bucket; in the last one it is that bucket's lower edge, as PromQL has it.
    """
    edges = sorted(buckets)
    total = buckets[edges[-1]] if edges else 0
    found = {}
    for percent in PERCENTS if total else ():
        rank, low, below = total * percent / 100, 0.0, 0.0
        for edge in edges:
            inside = buckets[edge] - below
            if buckets[edge] >= rank and inside:
                found[f"p{percent}"] = low if edge == float("inf") else low + (edge - low) * (rank - below) / inside
                break
            low, below = edge, buckets[edge]
    return Cancels(count=int(total), s=found)


def load_data(load: Load) -> dict[str, Any]:
    """A load in JSON's own types."""
    return {"kind": KIND, **asdict(load)}
