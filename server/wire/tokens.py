"""Bodies of `POST /tokenize` and `POST /detokenize`: vLLM's."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from server.wire.base import Wire
from server.wire.chat import ChatMessage


class TokenizeRequest(Wire):
    """A text, or a conversation."""

    model: str | None = None
    prompt: str | None = None
    messages: Annotated[list[ChatMessage], Field(min_length=1)] | None = None
    add_special_tokens: bool | None = None
    """True for a text unless said; a conversation's template has what it needs."""
    return_token_strs: bool | None = None
    add_generation_prompt: bool = True
    continue_final_message: bool = False
    chat_template: Any = None
    chat_template_kwargs: Any = None
    tools: Any = None


class DetokenizeRequest(Wire):
    """Token ids of the served model."""

    model: str | None = None
    tokens: list[Annotated[int, Field(ge=0)]]
