"""What a request carries on to an upstream besides itself: the headers of a trace, set by whoever keeps traces."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar

_NONE: Mapping[str, str] = {}
PASSED_ON: ContextVar[Mapping[str, str]] = ContextVar("touchstone_passed_on", default=_NONE)
"""Headers that go with what the current task asks of an upstream."""
