"""Stop strings in a growing text: found across token borders, never given out, not even in part."""

from __future__ import annotations

from collections.abc import Sequence


class StopFilter:
    """Lets text through up to the first stop string, and holds back only what may be the beginning of one."""

    __slots__ = ("_firsts", "_held", "_longest", "_stops")

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(stops)
        self._firsts = frozenset(stop[0] for stop in self._stops)
        self._longest = max(map(len, self._stops), default=0)
        self._held = ""

    def push(self, text: str) -> tuple[str, bool]:
        """Give `text`; get back what is safe to show now, and whether a stop string was met (then nothing follows)."""
        if not self._stops:
            return text, False
        text = self._held + text
        found = min((at for stop in self._stops if (at := text.find(stop)) >= 0), default=-1)
        if found >= 0:
            self._held = ""
            return text[:found], True
        safe = self._safe_length(text)
        self._held = text[safe:]
        return text[:safe], False

    def flush(self) -> str:
        """What is still held back, once it is clear that no more text comes."""
        held, self._held = self._held, ""
        return held

    def _safe_length(self, text: str) -> int:
        for at in range(max(0, len(text) - self._longest + 1), len(text)):
            if text[at] in self._firsts and any(stop.startswith(text[at:]) for stop in self._stops):
                return at
        return len(text)
