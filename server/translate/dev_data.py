"""Continue's events: which of them say what became of an answer, of which prompt, and what they say of it. Pure.

The events and their fields are those of its `packages/config-yaml/src/schemas/data`, versions 0.1.0 and 0.2.0.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from engine import Fim, Prompt, Text, find_layout
from feedback import Answer, SignalType, prompt_hash, prompt_to_data, redact_all
from server.wire.dev_data import DevDataEvent

_VERDICTS = {"autocomplete": "accepted", "editOutcome": "accepted", "nextEditOutcome": "accepted"} | {
    "chatFeedback": "feedback"
}
"""The field of each event that says whether the answer was taken, or liked."""
SUGGESTIONS = frozenset({"autocomplete", "nextEditOutcome"})
"""Events that are told once of each answer that an editor showed."""
_KNOWN = (*_VERDICTS, "chatInteraction", "editInteraction", "nextEdit", "quickEdit", "tokensGenerated", "toolUsage")


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What one event says of an answer."""

    accepted: bool
    shown: str
    """The answer as it was shown; empty where the editor tells no code."""
    prompt_hashes: tuple[str, ...]
    """Of every prompt that it may have been an answer to."""
    edited: str | None = None
    """What stands in the file instead, where it was taken and changed."""
    key: str
    """The same where the same event comes again."""


def label_of(event: DevDataEvent) -> str:
    """The event's name as a label: a known one, or `other`."""
    return event.name if event.name in _KNOWN else "other"


def told_by(event: DevDataEvent) -> Told | None:
    """None for an event that says nothing of any answer."""
    field = _VERDICTS.get(event.name)
    accepted = event.data.get(field) if field is not None else None
    if not isinstance(accepted, bool):
        return None
    shown = _text(event, "completion")
    new = _text(event, "newCode").strip()
    edited = new if event.name == "editOutcome" and accepted and shown and new and new not in shown else None
    return Told(
        accepted=accepted,
        shown=shown,
        prompt_hashes=_hashes(event),
        edited=edited,
        key=_key(event),
    )


def words_of(told: Told, answer: Answer, *, keeps_text: bool) -> list[tuple[SignalType, Any, str | None]]:
    """Type, value and `partial` of the signals on that answer; without text where none is kept.

    An editor that showed the beginning of an answer alone has judged no more than that.
    """
    cut = bool(told.shown) and len(told.shown.strip()) < len(answer.text.strip())
    partial = "beginning" if cut and keeps_text else None
    words: list[tuple[SignalType, Any, str | None]] = [("accept" if told.accepted else "reject", None, partial)]
    if told.edited is not None and keeps_text:
        words.append(("edit", told.edited, None))
    return words


def _hashes(event: DevDataEvent) -> tuple[str, ...]:
    """As the log has them: of prompts without their secrets; of others where redacting is off or no text is kept."""
    asked = [prompt_to_data(prompt) for prompt in _prompts(event)]
    return tuple(dict.fromkeys(prompt_hash(form) for data in asked for form in (redact_all(data), data)))


def _prompts(event: DevDataEvent) -> list[Prompt]:
    """What Continue may have asked: a gap in two fields, a layout that it spelled out itself, or plain text."""
    prefix, suffix, prompt = _text(event, "prefix"), _text(event, "suffix"), _text(event, "prompt")
    found: list[Prompt] = []
    if prompt and (layout := find_layout(prompt)) is not None:
        found.append(Fim(layout.before + layout.prefix, layout.suffix))
    if prefix or suffix:
        found.append(Fim(prefix, suffix))
    if prompt and suffix:
        found.append(Fim(prompt, suffix))
    if prompt:
        found.append(Text(prompt))
    return found


def _text(event: DevDataEvent, name: str) -> str:
    value = event.data.get(name)
    return value if isinstance(value, str) else ""


def _key(event: DevDataEvent) -> str:
    """The editor's own id of the answer, else a digest of all that it says."""
    own = _text(event, "completionId")
    if not own:
        said = json.dumps(event.data, sort_keys=True).encode("utf-8", "surrogatepass")
        own = hashlib.blake2b(said, digest_size=16).hexdigest()
    return f"continue:{event.name}:{own}"[:190]
