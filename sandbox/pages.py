"""What the commands print: a page for people, coloured on a terminal, or one JSON object for programs."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, TextIO

from sandbox.outcome import Outcome, Status, TestOutcome, classify
from sandbox.tiers import Tier

_RED, _GREEN, _YELLOW, _DIM, _BOLD = "31", "32", "33", "2", "1"
_NAME_WIDTH = 48
_MESSAGE_WIDTH = 200


class Page:
    """Where a command's answer goes. Colours only on a terminal, and not where `NO_COLOR` is set."""

    def __init__(self, stream: TextIO, *, as_json: bool) -> None:
        self._stream = stream
        self._as_json = as_json
        self._coloured = stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"

    def outcome(self, outcome: Outcome) -> None:
        """A run: a line a test, then a line for all of it."""
        if self._as_json:
            self._json(outcome_data(outcome))
            return
        width = min(_NAME_WIDTH, max((len(plain(test.name)) for test in outcome.tests), default=0))
        for test in outcome.tests:
            self._test(test, width)
        self._last(outcome)

    def tier(self, tier: Tier) -> None:
        """What the host grants."""
        if self._as_json:
            self._json(tier_data(tier))
            return
        self._line(f"tier {tier.name}", _GREEN if not tier.stronger_refused else _YELLOW, _BOLD)
        for fact, value in tier.facts:
            self._line(f"  {fact:<20} {plain(value)}")
        for reason in tier.stronger_refused:
            self._line(f"not a stronger one: {plain(reason)}", _YELLOW)
        for fix in tier.how_to_fix:
            self._line(f"  to fix: {fix}")

    def refusal(self, word: str, message: str, how_to_fix: Sequence[str] = ()) -> None:
        """That nothing was run, for programs; people are told on stderr."""
        if self._as_json:
            self._json(refusal_data(word, message, how_to_fix))

    def _test(self, test: TestOutcome, width: int) -> None:
        colour = _GREEN if test.status is Status.PASSED else _DIM if test.status is Status.NOT_RUN else _RED
        spent = "" if test.wall_s is None else f"{test.wall_s * 1000:.2f} ms"
        status = self._paint(f"{test.status:<17}", colour)
        self._line(f"{status} {_cut(plain(test.name), width):<{width}} {spent:>10}  {_said(test)}".rstrip())

    def _last(self, outcome: Outcome) -> None:
        passed = outcome.status is Status.PASSED
        head = self._paint(str(outcome.status), _GREEN if passed else _RED, _BOLD)
        integrity = f"integrity {outcome.integrity}"
        words = [
            f"{outcome.passed} of {len(outcome.tests)} passed",
            f"class {classify(outcome) or 'none'}",
            f"tier {outcome.tier}",
            self._paint(integrity, _YELLOW) if outcome.integrity == "weak" else integrity,
            f"CPU {outcome.cpu_s * 1000:.0f} ms",
            f"wall {outcome.wall_s * 1000:.0f} ms",
        ]
        if outcome.peak_memory_bytes is not None:
            words.append(f"memory {outcome.peak_memory_bytes / 2**20:.0f} MiB")
        self._line(f"{head}: {', '.join(words)}")
        told = any(test.status not in (Status.PASSED, Status.NOT_RUN) for test in outcome.tests)
        if outcome.message and not told:
            self._line(f"  {_cut(plain(outcome.message), _MESSAGE_WIDTH)}")

    def _paint(self, text: str, *codes: str) -> str:
        return f"\x1b[{';'.join(codes)}m{text}\x1b[0m" if self._coloured else text

    def _line(self, text: str, *codes: str) -> None:
        self._stream.write((self._paint(text, *codes) if codes else text) + "\n")

    def _json(self, data: dict[str, Any]) -> None:
        self._stream.write(json.dumps(data, indent=2) + "\n")


def outcome_data(outcome: Outcome) -> dict[str, Any]:
    """An outcome and its class as one JSON object."""
    data = asdict(outcome)
    return {"status": data.pop("status"), "class": classify(outcome), **data}


def tier_data(tier: Tier) -> dict[str, Any]:
    """A tier as one JSON object."""
    return {
        "tier": tier.name,
        "facts": dict(tier.facts),
        "stronger_refused": tier.stronger_refused,
        "how_to_fix": tier.how_to_fix,
    }


def refusal_data(word: str, message: str, how_to_fix: Sequence[str]) -> dict[str, Any]:
    """The keys of an outcome and of a tier, for a run that did not come about."""
    nothing: dict[str, Any] = {"class": None, "tests": [], "tier": None, "integrity": None, "form": None}
    spent = {"cpu_s": 0.0, "wall_s": 0.0, "peak_memory_bytes": None}
    return {"status": word, **nothing, **spent, "message": message, "how_to_fix": how_to_fix}


def plain(text: str) -> str:
    """A text on one line that a terminal only shows: candidates write names, values and messages."""
    return "".join(character if character.isprintable() else _escaped(character) for character in text)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: max(0, width - 1)] + "…"


def _said(test: TestOutcome) -> str:
    if test.status in (Status.PASSED, Status.NOT_RUN):
        return ""
    parts = [part for part in (test.exception_type, test.exception_message) if part]
    said = ": ".join(parts)
    if test.value:
        said += f"{'; ' if said else ''}got {test.value}"
    return _cut(plain(said), _MESSAGE_WIDTH)
