"""Body of `POST /v1/completions`: OpenAI's own, with `rerank`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from server.wire.base import Count, SamplingFields


class CompletionRequest(SamplingFields):
    """A prompt in one of OpenAI's four forms: text, texts, token ids, lists of token ids."""

    prompt: str | list[int] | list[str] | list[list[int]]
    suffix: str | None = None
    best_of: Count | None = None
    logprobs: Annotated[int, Field(ge=0)] | None = None
    echo: bool | None = None
