"""Body of `POST /v1/feedback`: one event, or a batch of them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from server.wire.base import Closed


class FeedbackEvent(Closed):
    """What somebody says of one choice of one reply. `value` depends on `type`; see `server/translate/feedback.py`."""

    id: Annotated[str, Field(min_length=1, max_length=200)]
    """The reply's `id` (or a choice's own `feedback_id`, where the request was a list of prompts)."""
    choice: Annotated[int, Field(ge=0)] = 0
    type: Literal["accept", "reject", "edit", "rating", "tests", "comment", "demonstration"]
    value: Any = None
    elapsed_ms: Annotated[float, Field(ge=0)] | None = None
    partial: str | None = None
    retained_after_s: Annotated[float, Field(ge=0)] | None = None
    tags: dict[str, str] = Field(default_factory=dict)


class FeedbackBatch(Closed):
    """Several events; all are stored, or none."""

    events: Annotated[list[FeedbackEvent], Field(min_length=1, max_length=1000)]
