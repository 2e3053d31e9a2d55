"""Body of Continue's `POST /v1/dev-data`: one event, or a list of them."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, TypeAdapter

from server.wire.base import Wire


class DevDataEvent(Wire):
    """One event of an editor's. `data` is of a shape by `name`, and has no code in it where `level` is `noCode`."""

    name: Annotated[str, Field(min_length=1, max_length=200)]
    data: dict[str, Any] = Field(default_factory=dict)
    schema_: Any = Field(default=None, alias="schema")
    level: Any = None
    profile_id: Any = Field(default=None, alias="profileId")


DEV_DATA_EVENTS = TypeAdapter(Annotated[list[DevDataEvent], Field(max_length=1000)])


def events_of(body: bytes) -> list[DevDataEvent]:
    """The events of a body in either form. Raises `ValidationError`."""
    if body.lstrip()[:1] == b"[":
        return DEV_DATA_EVENTS.validate_json(body)
    return [DevDataEvent.model_validate_json(body)]
