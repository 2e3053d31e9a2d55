"""`[engine]`: which engine serves which model. Unknown keys are errors that name the key."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from engine.registry import AUTO, engine_names


class UpstreamConfig(BaseModel):
    """`[engine.upstream]`: the server behind an engine of type `openai`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    base_url: str | None = None
    """With its `/v1`."""
    api_key: SecretStr | None = None
    model: str | None = None
    """None: the first the upstream lists."""
    context_length: Annotated[int, Field(ge=1)] | None = None
    """In tokens; None: what the upstream says."""
    fields: tuple[str, ...] = ()
    """Those of top_k, min_tokens and repetition_penalty that this upstream has beyond OpenAI's API."""
    fim: bool = True
    """Whether it takes `suffix` on `/completions`."""
    max_logprobs: Annotated[int, Field(ge=0)] = 5
    """Alternatives a token it can report; 0: it cannot report log-probabilities at all."""
    max_running: Annotated[int, Field(ge=1)] = 64
    """Requests at once; more wait here."""


class EngineConfig(BaseModel):
    """`[engine]`: which engine, which model, in which type."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    type: str = "ctranslate2"
    """ctranslate2, cpu (fast at many candidates of one prompt), vllm, transformers (the reference), openai (an upstream
    server), scripted (a file of answers) or auto: of the first four the fastest on this host, of those installed, for
    requests of `server.default_candidates`, by what `touchstone bench table --row auto --limit 0` measured; ctranslate2
    where nothing was (`touchstone doctor` tells)."""
    model: str | None = None
    """Id, name or path of a model folder; None: the champion."""
    dtype: str = "auto"
    """auto: for ctranslate2 on CPUs what costs least of the conversions that are there, as stored or in float32,
    measured at the first start (`touchstone models calibrate`), on GPUs the best conversion as stored; for cpu bfloat16
    where the weights are stored in 16 bits and the CPU is fast in it, else float32, and int8 only where it is named and
    the model stays as good in it; for transformers float32 on CPUs, bfloat16 on GPUs; for vllm what vLLM takes for the
    checkpoint. Others name the conversion and
    compute in its type."""
    device: Annotated[str, Field(pattern=r"^(auto|cpu|cuda)$")] = "auto"
    threads: Annotated[int, Field(ge=1)] | None = None
    """Cores to compute with; None: as many as this process may use."""
    max_waiting: Annotated[int, Field(ge=1)] = 256
    """Requests in the waiting queue before others are told to come again. A key may have as many of a class there as
    are left free to others, so at most half."""
    upstream: UpstreamConfig = UpstreamConfig()
    vllm: dict[str, Any] = {}
    """For `vllm`: vLLM's own engine arguments, `gpu_memory_utilization = 0.8` for example (docs/vllm.md). Unknown ones
    are refused by name."""
    script: Path | None = None
    """For `scripted`: a JSON file from prompt to completions."""

    @field_validator("type")
    @classmethod
    def _known(cls, name: str) -> str:
        known = (*engine_names(), AUTO)
        if name not in known:
            raise ValueError(f"no engine is called {name!r}; there are {', '.join(known)}")
        return name

    @model_validator(mode="after")
    def _complete(self) -> EngineConfig:
        if self.type == "openai" and self.upstream.base_url is None:
            raise ValueError("upstream.base_url is needed for an engine of type 'openai'")
        if self.type == "scripted" and self.script is None:
            raise ValueError("script is needed for an engine of type 'scripted'")
        return self
