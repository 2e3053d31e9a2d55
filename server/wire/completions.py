"""Body of `POST /v1/completions`: OpenAI's own, with `rerank`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StrictBool, StrictInt

from server.wire.base import Count, SamplingFields


class CompletionRequest(SamplingFields):
    """A prompt in one of OpenAI's four forms: text, texts, token ids, lists of token ids."""

    prompt: str | list[StrictInt] | list[str] | list[list[StrictInt]]
    suffix: str | None = None
    best_of: Count | None = None
    logprobs: Annotated[StrictInt, Field(ge=0)] | None = None
    echo: StrictBool | None = None
