"""Shared habits of the wire models: extra keys are collected, never forbidden; `stream_options` and `stop` are alike.

Types are strict: neither `true` nor `"8"` is a number (a whole number stands for a float).

Refuses nothing by itself except wrong types and numbers out of range; what is unsupported is refused by name in
`server/translate`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

Penalty = Annotated[float, Field(ge=-2.0, le=2.0)]
Count = Annotated[int, Field(ge=1)]


def _number_or_auto(value: Any) -> Any:
    """One message where pydantic would have one for each member of the union."""
    if value != "auto" and type(value) is not int:
        raise ValueError('must be a whole number, or "auto"')
    return value


CountOrAuto = Annotated[Count | Literal["auto"], BeforeValidator(_number_or_auto)]


def _unless_any(value: Any) -> Any:
    """llama.cpp's -1: as many as there are."""
    return None if type(value) is int and value == -1 else value


Tokens = Annotated[Count | None, BeforeValidator(_unless_any)]


class Wire(BaseModel):
    """A request body; keys nobody knows are kept in `model_extra` and named in a header."""

    model_config = ConfigDict(extra="allow", allow_inf_nan=False, strict=True)


class Closed(BaseModel):
    """A part of a request body in which an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, strict=True)


class StreamOptions(Wire):
    """OpenAI's `stream_options`."""

    include_usage: bool = False
    include_obfuscation: Any = None
    """OpenAI pads chunks against traffic analysis; we never do, so any value is accepted as `false`."""


class Asks(Wire):
    """What samples, or ranks."""

    model: str | None = None
    rerank: RerankFields | None = None


class SamplingFields(Asks):
    """What both generation routes have in common. None means: not said."""

    n: Count | None = None
    temperature: Annotated[float, Field(ge=0.0, le=2.0)] | None = None
    top_p: Annotated[float, Field(ge=1e-6, le=1.0)] | None = None
    top_k: Annotated[int, Field(ge=-1)] | None = None
    max_tokens: Tokens = None
    min_tokens: Annotated[int, Field(ge=0)] | None = None
    stop: str | list[str] | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    repetition_penalty: Annotated[float, Field(ge=0.01, le=2.0)] | None = None
    logit_bias: dict[str, Annotated[float, Field(ge=-100.0, le=100.0)]] | None = None
    user: str | None = None


class TestsFields(Closed):
    """`rerank.tests`: a suite that comes with the request."""

    __test__ = False  # not a pytest class

    language: str = "python"
    entry_point: str | None = None
    code: str | None = None
    suite_id: str | None = None
    timeout_ms: Annotated[float, Field(gt=0)] | None = None
    """Wall time one candidate's whole run may take, in milliseconds."""
    memory_mb: Annotated[int, Field(ge=16)] | None = None
    """Memory one candidate may use, in MiB."""
    visible: bool = True


class RerankFields(Closed):
    """`rerank`: what is asked of the reranker. Names of the whole API; those not built yet are refused by name."""

    method: str | None = None
    num_candidates: CountOrAuto | None = None
    """`auto`: as many as the evidence asks for, in growing stages."""
    max_candidates: Count | None = None
    """The most that `auto` samples."""
    generate_tests: Annotated[int, Field(ge=0, le=100)] | None = None
    """How many tests the model writes itself, to compare candidates by."""
    plans: Annotated[int, Field(ge=0, le=8)] | None = None
    """How many plans a chat model is asked for; those that lead to the visible examples' results are coded from."""
    repair_rounds: Annotated[int, Field(ge=0, le=4)] | None = None
    """How often candidates that all fail the visible tests are sampled again with what failed."""
    temperature: Annotated[float, Field(ge=0.0, le=2.0)] | None = None
    top_p: Annotated[float, Field(ge=1e-6, le=1.0)] | None = None
    include_greedy: bool | None = None
    dedupe: str | None = None
    tests: TestsFields | None = None
    examples: str | None = None
    deadline_ms: Annotated[float, Field(gt=0, le=86_400_000)] | None = None
    early_exit: str | None = None
    on_error: str | None = None
    return_: str | None = Field(default=None, alias="return")
    profile: Any = None
    verifier: Literal["default"] | None = None
    """The loaded one: its score of every choice is told, whatever the method."""
    suite_id: Any = None


Asks.model_rebuild()
SamplingFields.model_rebuild()
