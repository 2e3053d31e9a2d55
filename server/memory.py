"""Memory in use, read at scrape time: host memory by process, and GPU memory where NVML answers.

Refuses nothing: a library that is missing or broken yields no samples, and the scrape goes on.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

from prometheus_client.core import Metric

from engine import total_memory_bytes
from server.meters import Collecting, Meter

_HOST = Meter(
    "gauge",
    "host_memory_bytes",
    "Host memory of `server` (`resident`, `virtual`) and of its `children` (`resident`).",
    ("process", "kind"),
)
_LIMIT = Meter(
    "gauge", "host_memory_limit_bytes", "The most the server may have: its container's limit, else the host's memory."
)
_GPU = Meter(
    "gauge",
    "gpu_memory_bytes",
    "Memory of each GPU, by its number: `used`, `free`, `total`; where NVML answers (package `nvidia-ml-py`).",
    ("gpu", "kind"),
)


class MemoryCollector(Collecting):
    """Memory of the host and of its GPUs."""

    METERS = (_HOST, _LIMIT, _GPU)

    def __init__(self) -> None:
        self._nvml: Any | None = None
        self._looked = False

    def collect(self) -> Iterator[Metric]:
        """Read everything now."""
        yield self._host()
        limit = total_memory_bytes()
        if limit is not None:
            yield _LIMIT.family([([], limit)])
        gpus = self._gpus()
        if gpus is not None:
            yield gpus

    def _host(self) -> Metric:
        psutil: Any = importlib.import_module("psutil")  # here, so that importing this module is light
        me = psutil.Process()
        mine = me.memory_info()
        resident = 0
        for child in me.children(recursive=True):
            try:
                resident += child.memory_info().rss
            except psutil.Error:
                continue  # it ended meanwhile, or runs as somebody else
        samples = [(["server", "resident"], mine.rss), (["server", "virtual"], mine.vms)]
        return _HOST.family([*samples, (["children", "resident"], resident)])

    def free_gpu_bytes(self) -> int | None:
        """Free memory of the fullest GPU; None where NVML does not answer."""
        nvml = self._find_nvml()
        if nvml is None:
            return None
        handles = [nvml.nvmlDeviceGetHandleByIndex(index) for index in range(nvml.nvmlDeviceGetCount())]
        return min((int(nvml.nvmlDeviceGetMemoryInfo(handle).free) for handle in handles), default=None)

    def _gpus(self) -> Metric | None:
        nvml = self._find_nvml()
        if nvml is None:
            return None
        samples = []
        for index in range(nvml.nvmlDeviceGetCount()):
            memory = nvml.nvmlDeviceGetMemoryInfo(nvml.nvmlDeviceGetHandleByIndex(index))
            samples += [([str(index), kind], getattr(memory, kind)) for kind in ("used", "free", "total")]
        return _GPU.family(samples)

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
