"""Body of `POST /admin/models`: one action on one model."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from server.wire.base import Closed

_ALONE = ("rollback", "sleep", "wake")
"""Actions that need no model named."""


class AdminAction(Closed):
    """What is to be done, and with which model."""

    action: Literal["load", "unload", "switch", "rollback", "challenge", "withdraw", "sleep", "wake"]
    """load: into memory, checked, to be asked for by its name; unload: out of it again; switch: make it the champion;
    rollback: make the champion before this one champion again; challenge: begin a contest; withdraw: end it;
    sleep: free the GPU until wake."""
    id: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    """The model's folder; its full name does too. Not with `rollback`, `sleep`, `wake`."""
    expected: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    """Only if the champion's id is still this; left out: whichever it is. With `switch`, `rollback`, `challenge`."""
    mode: Literal["shadow", "canary"] | None = None
    """Of `challenge`."""
    share: Annotated[float, Field(gt=0.0, le=1.0)] | None = None
    """Of `challenge`: the share of requests; 1 for a shadow and 0.1 for a canary where it is left out."""

    @model_validator(mode="after")
    def _fits(self) -> AdminAction:
        if (self.id is None) != (self.action in _ALONE):
            raise ValueError("id: needed, except with rollback, sleep and wake, which take none")
        if self.expected is not None and self.action not in ("switch", "rollback", "challenge"):
            raise ValueError(f"expected: {self.action} does not change the champion")
        if self.action != "challenge" and (self.mode is not None or self.share is not None):
            raise ValueError(f"mode, share: not with {self.action}")
        if self.action == "challenge" and self.mode is None:
            raise ValueError("mode: shadow or canary")
        return self
