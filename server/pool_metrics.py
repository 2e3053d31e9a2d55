"""The sandbox's pool as metrics: its own counts, as they are when they are scraped."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from sandbox import PoolStats


class PoolCollector(Collector):
    """`sandbox_slots{state}`, `sandbox_waiting`, `sandbox_retries_total`, `sandbox_zygotes_total{event}`."""

    def __init__(self) -> None:
        self.stats: PoolStats | None = None
        """Set before every scrape; None: there is no sandbox that says."""

    def describe(self) -> Iterator[Metric]:
        """The names, so that a scrape can ask for some of them."""
        yield GaugeMetricFamily("touchstone_sandbox_slots", "")
        yield GaugeMetricFamily("touchstone_sandbox_waiting", "")
        yield CounterMetricFamily("touchstone_sandbox_retries", "")
        yield CounterMetricFamily("touchstone_sandbox_zygotes", "")

    def collect(self) -> Iterator[Metric]:
        """The counts of this moment."""
        stats = self.stats
        if stats is None:
            return
        slots = GaugeMetricFamily("touchstone_sandbox_slots", "Programs that may run at once.", labels=["state"])
        slots.add_metric(["busy"], stats.busy)
        slots.add_metric(["free"], stats.slots - stats.busy)
        yield slots
        yield GaugeMetricFamily("touchstone_sandbox_waiting", "Programs waiting for a slot.", stats.waiting)
        retries = "Runs tried once more because the isolation failed."
        yield CounterMetricFamily("touchstone_sandbox_retries", retries, stats.retries)
        text = "Zygotes started; of these in place of one that failed, or of one that had served long enough."
        zygotes = CounterMetricFamily("touchstone_sandbox_zygotes", text, labels=["event"])
        for event in ("started", "replaced", "recycled"):
            zygotes.add_metric([event], getattr(stats, event))
        yield zygotes
