"""Memory in use, read at scrape time: host memory by process, and GPU memory where NVML answers.

Refuses nothing: a library that is missing or broken yields no samples, and the scrape goes on.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector


class MemoryCollector(Collector):
    """`host_memory_bytes{process,kind}` and `gpu_memory_bytes{gpu,kind}`."""

    def __init__(self) -> None:
        self._nvml: Any | None = None
        self._looked = False

    def describe(self) -> Iterator[GaugeMetricFamily]:
        """Nothing is read when the registry only wants names."""
        return iter(())

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Read everything now."""
        yield self._host()
        gpus = self._gpus()
        if gpus is not None:
            yield gpus

    def _host(self) -> GaugeMetricFamily:
        psutil: Any = importlib.import_module("psutil")  # here, so that importing this module is light
        family = GaugeMetricFamily("touchstone_host_memory_bytes", "Host memory.", labels=["process", "kind"])
        me = psutil.Process()
        mine = me.memory_info()
        family.add_metric(["server", "resident"], mine.rss)
        family.add_metric(["server", "virtual"], mine.vms)
        resident = 0
        for child in me.children(recursive=True):
            try:
                resident += child.memory_info().rss
            except psutil.Error:
                continue  # it ended meanwhile, or runs as somebody else
        family.add_metric(["children", "resident"], resident)
        return family

    def free_gpu_bytes(self) -> int | None:
        """Free memory of the fullest GPU; None where NVML does not answer."""
        nvml = self._find_nvml()
        if nvml is None:
            return None
        handles = [nvml.nvmlDeviceGetHandleByIndex(index) for index in range(nvml.nvmlDeviceGetCount())]
        return min((int(nvml.nvmlDeviceGetMemoryInfo(handle).free) for handle in handles), default=None)

    def _gpus(self) -> GaugeMetricFamily | None:
        nvml = self._find_nvml()
        if nvml is None:
            return None
        family = GaugeMetricFamily("touchstone_gpu_memory_bytes", "GPU memory.", labels=["gpu", "kind"])
        for index in range(nvml.nvmlDeviceGetCount()):
            memory = nvml.nvmlDeviceGetMemoryInfo(nvml.nvmlDeviceGetHandleByIndex(index))
            for kind in ("used", "free", "total"):
                family.add_metric([str(index), kind], getattr(memory, kind))
        return family

    def _find_nvml(self) -> Any | None:
        if not self._looked:
            self._looked = True
            try:
                nvml = importlib.import_module("pynvml")
                nvml.nvmlInit()
            except Exception:  # noqa: BLE001 - whatever a missing driver raises, there is no GPU to report
                return None
            self._nvml = nvml
        return self._nvml
