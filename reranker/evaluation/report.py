"""What an evaluation found: the records, and every number derived from them."""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from engine import available_cores, touchstone_version
from reranker.evaluation.measures import Estimate, difference, estimate
from reranker.evaluation.problem import Tag
from reranker.evaluation.record import GREEDY, ORACLE, RANDOM, Record, miscounted
from reranker.evaluation.settings import Settings, SourceInfo, SuiteInfo
from reranker.evaluation.sources import AUTO
from sandbox import ProgramClass

SCHEMA_VERSION = 1
MOST_GROUPS = 12
"""A tag with more values than this names problems rather than kinds of problems."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """One number: what choosing by `name` among `k` samples is worth, as a share of problems solved."""

    name: str
    """`greedy`, `random` (pass@1), `oracle` (pass@k), or a method."""
    k: int
    estimate: Estimate
    problems: int
    """How many it is the mean of: those it applies to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ByTag:
    """The problems that share a tag's value, measured by themselves."""

    tag: str
    value: Tag
    problems: int
    measures: tuple[Measure, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """How much was done. Samples are those without the greedy one."""

    problems: int
    judged: int
    samples: int
    distinct: int
    """Different texts among the samples of a problem, summed."""
    classes: Mapping[str, int]
    """Samples by class on the ladder; `not_run` where nothing ran to say so."""
    tokens: int
    """Every token sampled, the greedy ones too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """Where it ran: times mean nothing without it."""

    cpu: str
    cores: int
    """Those this process could use."""
    system: str
    python: str
    touchstone: str = ""
    """Its version; empty in files that are older than this field."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """An evaluation. Everything else is derived from its records, so that a report read back is the same report."""

    schema_version: int = SCHEMA_VERSION
    created_at: str
    suite: SuiteInfo
    source: SourceInfo
    settings: Settings
    host: Host
    records: tuple[Record, ...] = field(repr=False)
    """In the order of the suite."""

    def __post_init__(self) -> None:
        """Raises `ValueError` for a record that has too few samples, or too many, to be measured at these settings."""
        for record in self.judged:
            if fault := miscounted(len(record.samples), self.settings.n, self.source.kind):
                raise ValueError(f"records: samples of {record.task_id}: {fault}")

    @property
    def judged(self) -> tuple[Record, ...]:
        return tuple(record for record in self.records if not record.unjudged)

    @property
    def unjudged(self) -> tuple[Record, ...]:
        """Problems whose tests could not be run; each says why."""
        return tuple(record for record in self.records if record.unjudged)

    @property
    def counts(self) -> Counts:
        judged = self.judged
        classes: Counter[str] = Counter()
        for record in judged:
            classes.update(str(record.classes[text] or "not_run") for text in record.samples)
        order = [*ProgramClass, "not_run"]
        return Counts(
            problems=len(self.records),
            judged=len(judged),
            samples=sum(len(record.samples) for record in judged),
            distinct=sum(len(set(record.samples)) for record in judged),
            classes={str(name): classes[name] for name in order if name in classes or name != "not_run"},
            tokens=sum(record.tokens for record in self.records),
        )

    @property
    def wall_s(self) -> float:
        """Wall time of the run, over all its parts where it was interrupted and gone on with."""
        return sum(record.wall_s for record in self.records)

    @property
    def ms_per_token(self) -> float | None:
        """Wall time, judging included, over every token sampled; None where none was."""
        tokens = self.counts.tokens
        return 1000 * self.wall_s / tokens if tokens else None

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods that ordered samples; `auto` only where it is no other's double."""
        names = sorted({name for record in self.judged for name in record.orders})
        if AUTO in names and any(self._is_double(name) for name in names if name != AUTO):
            names.remove(AUTO)
        return tuple(names)

    def measures(self, ks: Sequence[int] | None = None) -> tuple[Measure, ...]:
        """Every number over all problems that were judged, at `ks` (None: at those of the settings)."""
        return tuple(_measures(self.judged, ks or self.settings.ks, self.methods))

    def gains(self) -> tuple[Measure, ...]:
        """What each method and the oracle gain over any sample, by choosing; the interval is paired by problem."""
        found = []
        for name, k in ((name, k) for name in (*self.methods, ORACLE) for k in self.settings.ks if k > 1):
            pairs = [(record.value(RANDOM, 1), record.value(name, k)) for record in self.judged]
            both = [(before, after) for before, after in pairs if before is not None and after is not None]
            if both:
                gain = difference([before for before, _ in both], [after for _, after in both])
                found.append(Measure(name=name, k=k, estimate=gain, problems=len(both)))
        return tuple(found)

    def groups(self) -> tuple[ByTag, ...]:
        """The same by each tag that has at least two values and not more than `MOST_GROUPS`."""
        found = []
        for tag in sorted({name for record in self.judged for name in record.tags}):
            tagged = [record for record in self.judged if tag in record.tags]
            values = sorted({record.tags[tag] for record in tagged}, key=lambda value: (str(type(value)), value))
            if 2 <= len(values) <= MOST_GROUPS:
                for value in values:
                    part = [record for record in tagged if record.tags[tag] == value]
                    measures = tuple(_measures(part, self.settings.ks, self.methods))
                    found.append(ByTag(tag=tag, value=value, problems=len(part), measures=measures))
        return tuple(found)

    def _is_double(self, name: str) -> bool:
        return all(record.orders.get(name) == record.orders.get(AUTO) for record in self.judged)


def make_report(
    suite: SuiteInfo, source: SourceInfo, settings: Settings, records: Iterable[Record], *, created_at: str = ""
) -> Report:
    """A report of these records, made on this host. `created_at` is ISO 8601; empty: now."""
    return Report(
        created_at=created_at or datetime.now(UTC).isoformat(timespec="seconds"),
        suite=suite,
        source=source,
        settings=settings,
        host=this_host(),
        records=tuple(records),
    )


def this_host() -> Host:
    """What this machine tells of itself."""
    return Host(
        cpu=_cpu(),
        cores=available_cores(),
        system=platform.platform(terse=True),
        python=platform.python_version(),
        touchstone=touchstone_version(),
    )


def _cpu() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:
            named = next((line for line in lines if line.startswith("model name")), "")
    except OSError:
        named = ""
    return named.partition(":")[2].strip() or platform.machine()


def _measures(records: Sequence[Record], ks: Sequence[int], methods: Sequence[str]) -> Iterable[Measure]:
    """Greedy and random at 1; the methods and the oracle where there is something to choose among (k > 1).

    A measure that applies nowhere is left out.
    """
    asked = [(GREEDY, 1), (RANDOM, 1), *((name, k) for name in (*methods, ORACLE) for k in ks if k > 1)]
    for name, k in asked:
        values = [value for record in records if (value := record.value(name, k)) is not None]
        if values:
            yield Measure(name=name, k=k, estimate=estimate(values), problems=len(values))
