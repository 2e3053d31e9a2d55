"""Body of `POST /v1/rerank/candidates`: candidates that the client already has."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from server.wire.base import Asks
from server.wire.chat import ChatMessage


class CandidatesRequest(Asks):
    """What was asked, `prompt` or `messages`, and the answers to it."""

    prompt: str | None = None
    suffix: str | None = None
    messages: Annotated[list[ChatMessage], Field(min_length=1)] | None = None
    candidates: Annotated[list[str], Field(min_length=1)]
    user: str | None = None
