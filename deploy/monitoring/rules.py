"""What a recording rule and an alert are. Durations are written as PromQL has them: `5m`, `1h`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

_DURATION = re.compile(r"(?<=\[)(\d+)([smhd])(?=\])|(?<=offset )(\d+)([smhd])\b")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """A series that Prometheus computes and keeps."""

    record: str
    expr: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """A condition that somebody should know of."""

    name: str
    expr: str
    hold: str
    """So long it must have been true; `0s`: at once."""
    severity: Literal["critical", "warning", "info"]
    """`critical`: users are turned away now. `warning`: they will be, or get worse answers. `info`: worth knowing."""
    summary: str
    """One line; may name labels and the value: `{{ $labels.instance }}`, `{{ $value | humanize }}`."""

    @property
    def anchor(self) -> str:
        """Of its section among the runbooks."""
        return self.name.lower()


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Rules that are evaluated one after another."""

    name: str
    rules: tuple[Recording | Alert, ...]


def scaled(text: str, scale: float) -> str:
    """A duration, or an expression with all its ranges and offsets, so many times as long; at least a second each.

    For rehearsals, in which an hour is a minute. Raises `ValueError` where a duration is left as it was.
    """
    if scale == 1:
        return text
    if (whole := re.fullmatch(r"(\d+)([smhd])", text)) is not None:
        return _times(whole[1], whole[2], scale)
    found = _DURATION.sub(lambda m: _times(m[1] or m[3], m[2] or m[4], scale), text)
    if len(_DURATION.findall(text)) != text.count("[") + text.count("offset "):
        raise ValueError(f"a duration that is not understood: {text}")
    return found


def _times(number: str, unit: str, scale: float) -> str:
    seconds = int(number) * _SECONDS[unit]
    return f"{max(1, round(seconds * scale))}s" if seconds else "0s"
