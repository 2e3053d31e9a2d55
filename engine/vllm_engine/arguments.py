"""`[engine.vllm]`: vLLM's own engine arguments, passed on as they are. What is not known is refused by name."""

from __future__ import annotations

import difflib
import json
from collections.abc import Collection, Mapping
from typing import Any

from engine.errors import InvalidSetting

OURS = {
    "model": "engine.model names it",
    "tokenizer": "the model's own is used",
    "skip_tokenizer_init": "Touchstone encodes and decodes itself",
    "dtype": "engine.dtype names it",
    "served_model_name": "the model's manifest names it",
    "trust_remote_code": "a model's own code would run with the server's rights",
    "scheduling_policy": "the engine schedules by the requests' priorities",
    "logprobs_mode": "log-probabilities are those of the model's own distribution",
    "runner": "the engine generates",
    "convert": "the engine generates",
    "device_ids": "CUDA_VISIBLE_DEVICES says which GPUs",
}
"""Arguments of vLLM that are not the configuration's to set, and why."""


def checked(given: Mapping[str, Any], known: Collection[str]) -> dict[str, Any]:
    """The arguments as vLLM takes them: names with underscores, values of the environment as JSON where they are.

    Raises `InvalidSetting` for a name that vLLM (`known`) does not have, with the nearest, or that is not to be set.
    """
    checked: dict[str, Any] = {}
    for written, value in given.items():
        name = written.replace("-", "_").lower()
        if name in OURS:
            raise InvalidSetting(f"vllm.{written}", OURS[name])
        if name not in known:
            near = difflib.get_close_matches(name, sorted(set(known) - set(OURS)), n=1, cutoff=0.0)
            raise InvalidSetting(f"vllm.{written}", f"vLLM has no such engine argument; the nearest is {near[0]!r}")
        checked[name] = _read(value)
    return checked


def _read(value: Any) -> Any:
    """A value from the environment is text, whatever it means."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value
