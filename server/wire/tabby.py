"""Body of Tabby's `POST /v1/events`."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from server.wire.base import Wire


class TabbyEvent(Wire):
    """What became of a suggestion: `view`, `select` or `dismiss`; other types are accepted and say nothing."""

    type: str
    completion_id: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    choice_index: Annotated[int, Field(ge=0)] | None = None
    select_kind: str | None = None
    """`line` where only the first line was taken."""
    view_id: str | None = None
    elapsed: Annotated[float, Field(ge=0)] | None = None
    """Milliseconds since it was shown."""
    user: Any = None
