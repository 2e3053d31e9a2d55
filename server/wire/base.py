"""Shared habits of the wire models: extra keys are collected, never forbidden; `stream_options` and `stop` are alike.

Types are strict: neither `true` nor `"8"` is a number (a whole number stands for a float).

Refuses nothing by itself except wrong types and numbers out of range; what is unsupported is refused by name in
`server/translate`.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

Penalty = Annotated[float, Field(ge=-2.0, le=2.0)]
Count = Annotated[int, Field(ge=1)]


class Effect(StrEnum):
    """What becomes of a field that is known and not honoured: a mark in its annotation."""

    NONE = "no effect"
    """Accepted, as plugins always send it, and named in `X-Touchstone-Ignored`; why that does no harm is said below."""
    REFUSED = "refused"
    """By name, unless its value asks for nothing."""


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
    include_obfuscation: Annotated[Any, Effect.NONE] = None
    """OpenAI pads chunks against traffic analysis; we never do, so any value is accepted as `false`."""


class Asks(Wire):
    """What samples, or ranks."""

    model: str | None = None
    rerank: RerankFields | None = None


class SamplingFields(Asks):
    """What both generation routes have in common. None means: not said."""

    n: Count | None = None
    temperature: Annotated[float, Field(ge=0.0, le=2.0)] | None = None
    """With reranking off, or a bare `best_of`; candidates are sampled at `rerank.temperature`."""
    top_p: Annotated[float, Field(ge=1e-6, le=1.0)] | None = None
    """The same; candidates have `rerank.top_p`."""
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
    """A stored suite (`POST /v1/suites`) instead of `code`."""
    timeout_ms: Annotated[float, Field(gt=0)] | None = None
    """Wall time one candidate's whole run may take, in milliseconds."""
    memory_mb: Annotated[int, Field(ge=16)] | None = None
    """Memory one candidate may use, in MiB."""
    visible: bool = True


RERANK_WORDS = {
    "dedupe": ("ast", "off"),
    "examples": ("auto", "off"),
    "early_exit": ("first_pass", "off"),
    "on_error": ("fallback", "fail"),
    "return_": ("selected", "all"),
}
"""The words that fields of `rerank` take."""


class RerankFields(Closed):
    """`rerank`: what is asked of the reranker."""

    profile: str | None = None
    """A named set of these settings (`[profiles.NAME]`); those given here go before its own."""
    method: str | None = None
    """`off`, `auto`, or one of the methods."""
    num_candidates: CountOrAuto | None = None
    """How many are sampled; `n` of them come back. `auto`: as many as the evidence asks for, in growing stages."""
    max_candidates: Count | None = None
    """The most that `auto` samples."""
    generate_tests: Annotated[int, Field(ge=0, le=100)] | None = None
    """How many tests the model writes itself, to compare candidates by."""
    plans: Annotated[int, Field(ge=0, le=8)] | None = None
    """How many plans a chat model is asked for; those that lead to the visible examples' results are coded from."""
    repair_rounds: Annotated[int, Field(ge=0, le=4)] | None = None
    """How often candidates that all fail the visible tests are sampled again with what failed."""
    temperature: Annotated[float, Field(ge=0.0, le=2.0)] | None = None
    """Candidates are sampled at it."""
    top_p: Annotated[float, Field(ge=1e-6, le=1.0)] | None = None
    """The same for the nucleus."""
    include_greedy: bool | None = None
    """One candidate at temperature 0."""
    dedupe: str | None = None
    """`ast`: equal programs run once; `off`: each runs."""
    tests: TestsFields | None = None
    """Tests that come with the request."""
    examples: str | None = None
    """`auto`: examples in the prompt become a visible suite; `off`: they are left alone."""
    deadline_ms: Annotated[float, Field(gt=0, le=86_400_000)] | None = None
    """What there is by then is ranked."""
    early_exit: str | None = None
    """`first_pass`: stop at the first `n` candidates that pass everything; `off`: judge all."""
    on_error: str | None = None
    """`fallback`: a failing sandbox degrades to likelihood; `fail`: it refuses."""
    return_: str | None = Field(default=None, alias="return")
    """`all`: every candidate comes back, best first; `selected`: `n` of them."""
    verifier: Literal["default"] | None = None
    """The loaded one: its score of every choice is told, whatever the method."""


Asks.model_rebuild()
SamplingFields.model_rebuild()
