"""vLLM's own metrics, `vllm:...`, where the vllm engine is at work in this process: as vLLM made them.

They are of the model that was loaded last: vLLM forgets those of the one before. `engine.vllm.disable_log_stats = true`
does without.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

from prometheus_client import REGISTRY
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

_PREFIX = "vllm:"


class VllmCollector(Collector):
    """Everything of vLLM in the registry where libraries leave their metrics."""

    def describe(self) -> Iterator[Metric]:
        """Nothing: what there is depends on vLLM's version and settings."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """As they are now; none where vLLM was not imported."""
        if "vllm" not in sys.modules:
            return
        for metric in REGISTRY.collect():
            if metric.name.startswith(_PREFIX):
                yield metric
