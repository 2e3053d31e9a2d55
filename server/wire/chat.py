"""Body of `POST /v1/chat/completions`: OpenAI's own, with `rerank`."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from server.wire.base import Count, SamplingFields, Wire


class ContentPart(Wire):
    """One part of a message; only `text` parts are understood."""

    type: str
    text: str | None = None


class ChatMessage(Wire):
    """One turn of the conversation."""

    role: str
    content: str | list[ContentPart] | None = None


class ChatRequest(SamplingFields):
    """A conversation. Tools and other modalities are known by name only to be refused by name."""

    messages: Annotated[list[ChatMessage], Field(min_length=1)]
    max_completion_tokens: Count | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0)] | None = None
    tools: Any = None
    tool_choice: Any = None
    functions: Any = None
    function_call: Any = None
    response_format: Any = None
    modalities: Any = None
    audio: Any = None
    prediction: Any = None
