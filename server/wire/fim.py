"""Bodies of the routes that fill in the middle in other dialects than OpenAI's: Mistral's, llama.cpp's, Tabby's."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from server.wire.base import Asks, Count, Effect, StreamOptions, Wire

Temperature = Annotated[float, Field(ge=0.0, le=2.0)]
TopP = Annotated[float, Field(ge=1e-6, le=1.0)]
Seed = Annotated[int, Field(ge=-(2**63), lt=2**63)]


class OllamaOptions(Wire):
    """`options`, as clients of Ollama's send it."""

    num_predict: int | None = None
    temperature: Temperature | None = None
    top_p: TopP | None = None
    stop: list[str] | None = None


class SegmentsSnippet(Wire):
    """A declaration, or a piece of another file."""

    filepath: str
    body: str


class Segments(Wire):
    """Tabby's `segments`: the code around the cursor and what may help."""

    prefix: str
    suffix: str | None = None
    filepath: str | None = None
    """Told to the model beside other files."""
    git_url: Annotated[str | None, Effect.NONE] = None
    """Tabby finds its index by it; here is none."""
    declarations: list[SegmentsSnippet] | None = None
    relevant_snippets_from_changed_files: list[SegmentsSnippet] | None = None
    relevant_snippets_from_recently_opened_files: list[SegmentsSnippet] | None = None
    clipboard: Annotated[str | None, Effect.NONE] = None
    """What somebody copied is not shown to the model: it is rarely code, and sometimes a password."""


class FimRequest(Asks):
    """Mistral's `POST /v1/fim/completions`, with `rerank`."""

    prompt: str
    suffix: str | None = None
    max_tokens: Count | None = None
    min_tokens: Annotated[int, Field(ge=0)] | None = None
    temperature: Temperature | None = None
    top_p: TopP | None = None
    stop: str | list[str] | None = None
    random_seed: Seed | None = None
    n: Count | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    user: str | None = None
    metadata: Annotated[Any, Effect.NONE] = None
    """For people: no answer depends on it."""


class ExtraFile(Wire):
    """A piece of another file that may help."""

    text: str
    filename: str | None = None


class InfillRequest(Asks):
    """llama.cpp's `POST /infill`, with `rerank`."""

    input_prefix: str = ""
    input_suffix: str = ""
    input_extra: list[ExtraFile] | None = None
    prompt: str | None = None
    """The beginning of the cursor's line, behind `input_prefix`."""
    n_predict: int | None = None
    """-1: as many as the server gives; 0: none, which fills llama.cpp's cache, and here does nothing."""
    n_cmpl: Count | None = None
    """Several: the reply is a list."""
    n: Count | None = None
    temperature: Temperature | None = None
    top_k: Annotated[int, Field(ge=-1)] | None = None
    top_p: Annotated[float, Field(ge=0.0, le=1.0)] | None = None
    stop: list[str] | None = None
    seed: Seed | None = None
    stream: bool | None = None
    t_max_predict_ms: Annotated[float, Field(ge=-1, le=86_400_000)] | None = None
    """Time for sampling; what there is by then comes back. 0 and -1: no bound."""
    t_max_prompt_ms: Annotated[float | None, Effect.NONE] = None
    """A prompt is read as a whole: `t_max_predict_ms` bounds that too."""
    response_fields: list[str] | None = None
    """Only these; `timings/prompt_n` brings an inner field up under that name."""
    samplers: list[str] | None = None
    """Which of `temperature`, `top_k`, `top_p` count, always in that order. `infill` without `temperature` takes the
    likeliest token where one completion is asked for, and has no other effect."""
    cache_prompt: Annotated[bool | None, Effect.NONE] = None
    """What is kept of a prompt between requests is the engine's to say; it changes no answer."""
    id_slot: Annotated[int | None, Effect.NONE] = None
    """There are no slots: each request gets its turn."""
    n_indent: Annotated[int | None, Effect.NONE] = None
    """A completion does not end where its lines are indented less: it may go on behind the block."""
    min_p: Annotated[float | None, Effect.REFUSED] = None
    typical_p: Annotated[float | None, Effect.REFUSED] = None
    n_keep: Annotated[int | None, Effect.REFUSED] = None
    n_probs: Annotated[Literal[0] | None, Effect.REFUSED] = None
    user: str | None = None
