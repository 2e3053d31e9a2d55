"""What a metric is called and means: said once, for the registry, for the scrape and for `docs/metrics.md`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 60)


@dataclass(frozen=True, slots=True)
class Meter:
    """One metric. `name` has neither the prefix `touchstone_` nor a counter's `_total`."""

    kind: Literal["histogram", "counter", "gauge"]
    name: str
    text: str
    labels: tuple[str, ...] = ()

    @property
    def full_name(self) -> str:
        """As it is scraped."""
        return f"touchstone_{self.name}{'_total' if self.kind == 'counter' else ''}"

    def family(self, samples: Iterable[tuple[Sequence[str], float]] = ()) -> Metric:
        """A scrape's samples of it, each with its label values."""
        made = CounterMetricFamily if self.kind == "counter" else GaugeMetricFamily
        family = made(f"touchstone_{self.name}", self.text, labels=self.labels)
        for values, number in samples:
            family.add_metric(values, number)
        return family


class Collecting(Collector):
    """A collector of metrics that are read when they are scraped."""

    METERS: tuple[Meter, ...] = ()

    def describe(self) -> Iterator[Metric]:
        """The names, so that a scrape can ask for some of them; nothing is read for that."""
        return (meter.family() for meter in self.METERS)


class Meters:
    """Makes metrics in a registry and remembers all that it made."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._made: list[Meter] = []

    def __iter__(self) -> Iterator[Meter]:
        return iter(self._made)

    def histogram(
        self, name: str, text: str, labels: tuple[str, ...] = (), buckets: Iterable[float] = _SECONDS
    ) -> Histogram:
        """Observations by size."""
        self._made.append(Meter("histogram", name, text, labels))
        return Histogram(f"touchstone_{name}", text, labels, buckets=tuple(buckets), registry=self._registry)

    def counter(self, name: str, text: str, labels: tuple[str, ...] = ()) -> Counter:
        """What only grows."""
        self._made.append(Meter("counter", name, text, labels))
        return Counter(f"touchstone_{name}", text, labels, registry=self._registry)

    def gauge(self, name: str, text: str, labels: tuple[str, ...] = ()) -> Gauge:
        """What is now."""
        self._made.append(Meter("gauge", name, text, labels))
        return Gauge(f"touchstone_{name}", text, labels, registry=self._registry)

    def collector(self, collector: Collecting) -> None:
        """Something that is read when it is scraped."""
        self._made += collector.METERS
        self._registry.register(collector)
