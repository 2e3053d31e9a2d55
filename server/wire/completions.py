"""Body of `POST /v1/completions`: OpenAI's own, with `rerank`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from server.wire.base import Count, Effect, SamplingFields
from server.wire.fim import OllamaOptions, Segments


class CompletionRequest(SamplingFields):
    """A prompt in one of OpenAI's four forms: text, texts, token ids, lists of token ids."""

    prompt: str | list[int] | list[str] | list[list[int]] | None = None
    """Needed, but for Tabby's clients, which send `segments` instead."""
    suffix: str | None = None
    fim: Literal["auto", "raw"] | None = None
    """`raw`: a layout spelled out in the prompt is left alone."""
    best_of: Count | None = None
    logprobs: Annotated[int, Field(ge=0)] | None = None
    echo: bool | None = None
    n_predict: int | None = None
    """llama.cpp's `max_tokens`."""
    max_new_tokens: Count | None = None
    """TGI's."""
    options: OllamaOptions | None = None
    """Ollama's: `num_predict`, `temperature`, `top_p`, `stop` where the request's own are not there."""
    segments: Segments | None = None
    """Tabby's."""
    language: Annotated[str | None, Effect.NONE] = None
    """Beside `segments`; the layout needs none."""
    mode: Annotated[str | None, Effect.NONE] = None
    """Beside `segments`; Tabby's clients differ by it in what they show."""
