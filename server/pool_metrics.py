"""The sandbox's pool as metrics: its own counts, as they are when they are scraped."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import Metric

from sandbox import PoolStats
from server.meters import Collecting, Meter

_SLOTS = Meter("gauge", "sandbox_slots", "Programs that may run at once: `busy`, `free`.", ("state",))
_WAITING = Meter("gauge", "sandbox_waiting", "Programs waiting for a slot.")
_RETRIES = Meter("counter", "sandbox_retries", "Runs tried once more because the isolation failed.")
_ZYGOTES = Meter(
    "counter",
    "sandbox_zygotes",
    "Zygotes `started`; of these `replaced` one that failed, `recycled` one that had served long enough.",
    ("event",),
)


class PoolCollector(Collecting):
    """Busy, waiting, retried, started."""

    METERS = (_SLOTS, _WAITING, _RETRIES, _ZYGOTES)

    def __init__(self) -> None:
        self.stats: PoolStats | None = None
        """Set before every scrape; None: there is no sandbox that says."""

    def collect(self) -> Iterator[Metric]:
        """The counts of this moment."""
        stats = self.stats
        if stats is None:
            return
        yield _SLOTS.family([(["busy"], stats.busy), (["free"], stats.slots - stats.busy)])
        yield _WAITING.family([([], stats.waiting)])
        yield _RETRIES.family([([], stats.retries)])
        yield _ZYGOTES.family(
            [(["started"], stats.started), (["replaced"], stats.replaced), (["recycled"], stats.recycled)]
        )
