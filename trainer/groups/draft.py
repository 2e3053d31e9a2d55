"""From one exchange of the log to what it adds to a group. Pure; nothing is run and nothing is ranked here.

Of a response's `score` only the users' part is set; the suite's part is added when the group is complete.
"""

from __future__ import annotations

import json
import pickle
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import Any

from feedback import (
    Exchange,
    InvalidExchange,
    Logged,
    Signal,
    StoredCandidate,
    may_hold,
    prompt_hash,
    redact,
    redact_all,
    task_from_data,
)
from reranker import Candidate, Task, extract
from sandbox import ProgramClass
from trainer.groups.ladder import DEMONSTRATED
from trainer.groups.settings import Settings
from trainer.groups.types import RESPONSE_FIELDS, Response, values_of
from trainer.groups.words import Said, heard


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """What one exchange adds to the group of its prompt."""

    exchange_id: str
    at: str
    """When it was made, in UTC, ISO 8601."""
    key_id: str | None
    prompt: dict[str, Any]
    """Redacted."""
    prompt_hash: str
    """Of the redacted prompt, so that prompts which differ in a secret alone are one."""
    task: dict[str, Any]
    suite: dict[str, Any] | None
    """None also where the suite that ran may not label anything."""
    responses: tuple[Response, ...]
    originals: tuple[int | None, ...]
    """For each response the candidate that was first the same program; None where nobody looked."""


def why_not(exchange: Exchange, settings: Settings) -> str | None:
    """Why an exchange may not be trained on at all; None where it may."""
    if exchange.purpose != "traffic":
        return f"purpose {exchange.purpose}"
    if exchange.route == "candidates":
        return "its candidates were not sampled here"
    if not settings.may_train(exchange.key_id):
        return "its key may not train"
    if exchange.options.get("may_train") is False:
        return "its key may not train"
    if exchange.prompt.get("no_text"):
        return "its text was not kept"
    if exchange.prompt.get("kind") == "tokens":
        return "a prompt of token ids, which cannot be searched for secrets"
    return None


def draft_of(logged: Logged, settings: Settings, notes: Counter[str]) -> Draft | str:
    """What an exchange adds, or why it may not be trained on; `notes` counts the responses left out, by reason.

    Raises `InvalidExchange`, naming the exchange, for a record that cannot be read.
    """
    exchange, _ = logged
    try:
        return why_not(exchange, settings) or _draft(logged, settings, notes)
    except (ValueError, TypeError, KeyError, AttributeError, InvalidExchange) as error:
        raise InvalidExchange(f"exchange {exchange.id}: {error}") from error


def _draft(logged: Logged, settings: Settings, notes: Counter[str]) -> Draft | str:
    exchange, signals = logged
    prompt, task, suite, hide = exchange.prompt, exchange.task, exchange.suite, _nothing
    held = exchange.options.get("redacted") or {}  # by the log itself
    if suite is not None and held.get("suite"):
        return "a secret in the suite"
    if may_hold(_all_text(exchange, signals)):
        hide = redact
        if suite is not None and redact_all(suite["body"]) != suite["body"]:
            return "a secret in the suite"
        prompt, task = redact_all(prompt), redact_all(task)
    redacted = bool(held.get("prompt")) or prompt != exchange.prompt or task != exchange.task
    notes["prompts redacted"] += redacted
    if suite is not None and suite["form"] == "asserts_in_process":
        suite = None
        notes["suites that a candidate could forge"] += 1
    if suite is not None:
        suite = {name: suite[name] for name in ("form", "body", "visible", "hash")}
    shown = {c.choice: c.text for c in exchange.candidates if c.choice is not None}
    said, unheard = heard(signals, shown, settings.rating_scale) if signals else ({}, 0)
    notes["signals that say nothing here"] += unheard
    found: list[tuple[Response, int | None]] = []
    for candidate in exchange.candidates:
        mine = None if candidate.choice is None else said.get(candidate.choice)
        was_redacted = candidate.index in held.get("candidates", ())
        if was_redacted and suite is not None:
            notes["a secret in a judged program"] += 1
            continue
        response = _response(exchange, candidate, mine, hide, suite is not None)
        if isinstance(response, str):
            notes[response] += 1
            continue
        changed = hide is redact and response.text not in (candidate.text, candidate.raw_text)
        notes["responses redacted"] += was_redacted or changed
        if redacted or suite is None:  # a verdict on another text is none
            response = replace(response, program_class=None, fraction=None)
        found.append((response, _original(exchange, candidate)))
    if said:
        shape = None if suite is None else task_from_data(exchange.id, prompt, task)
        found += [(response, None) for response in _written(exchange.id, said, hide, shape)]
    return Draft(
        exchange_id=exchange.id,
        at=exchange.created_at.isoformat(),
        key_id=exchange.key_id,
        prompt=prompt,
        prompt_hash=prompt_hash(prompt) if redacted else exchange.prompt_hash,
        task=task,
        suite=suite,
        responses=tuple(response for response, _ in found),
        originals=tuple(original for _, original in found),
    )


def _nothing(text: str) -> str:
    return text


def _all_text(exchange: Exchange, signals: tuple[Signal, ...]) -> str:
    """Everything that may hold a secret; some of it as JSON, which hides none of the marks of one."""
    parts = [exchange.prompt, exchange.task, exchange.suite and exchange.suite["body"], [s.value for s in signals]]
    texts = [json.dumps(parts)]
    for candidate in exchange.candidates:
        texts.append(candidate.raw_text)
        if candidate.text not in candidate.raw_text:
            texts.append(candidate.text)
    return "\n".join(texts)


def _response(
    exchange: Exchange, candidate: StoredCandidate, said: Said | None, hide: Callable[[str], str], judged: bool
) -> Response | str:
    """A candidate as a response; or why it is none."""
    chat = exchange.task.get("shape") == "chat"
    text, ended = candidate.raw_text if chat else candidate.text, came_to_end(candidate, chat=chat)
    clean = hide(text)
    if candidate.finish_reason == "cancelled":
        return "cancelled before its end"
    if chat and candidate.repairs is not None:
        return "a repair, which answers another message"
    if not text and not ended:
        return "empty"
    if clean != text and judged:
        return "a secret in a judged program"
    return Response(
        text=clean,
        ended=ended,
        program_class=None if candidate.program_class is None else ProgramClass(candidate.program_class),
        fraction=_fraction(candidate),
        score=None if said is None else said.worth,
        source="student",
        model=exchange.model,
        round=exchange.round,
        exchange_id=exchange.id,
        shown=candidate.choice is not None,
        rank=candidate.rank,
        propensity=_propensity(exchange, candidate),
        mean_logprob=_mean_logprob(exchange, candidate),
        said=None if said is None else said.word,
    )


def came_to_end(candidate: Candidate | StoredCandidate, *, chat: bool) -> bool:
    """Whether the model came to an end, or was cut behind a whole function.

    Whitespace that the cut takes off a text which ran into its length is no end.
    """
    if candidate.finish_reason == "stop" or chat:
        return candidate.finish_reason == "stop"
    raw, text = candidate.raw_text, candidate.text
    return raw.startswith(text) and bool(raw[len(text) :].strip())


def _fraction(candidate: StoredCandidate) -> float | None:
    if candidate.program_class is None or candidate.tests is None:
        return None
    if candidate.program_class == ProgramClass.PASS:
        return 1.0  # the tests that did not run are those the suite itself skips
    tests = candidate.tests
    total = tests.passed + tests.failed + tests.errored + tests.not_run
    return tests.passed / total if total else 0.0


def _propensity(exchange: Exchange, candidate: StoredCandidate) -> float | None:
    """The reranker chooses by rule, so among candidates that were all looked at, what was shown was certain to be.

    Where time decided which of them were (`early_exit`, `deadline`, `degraded`), the chance is not known. It is given
    the candidates: their own sampling is not in it.
    """
    return float(candidate.choice is not None) if exchange.status in ("complete", "off") else None


def _mean_logprob(exchange: Exchange, candidate: StoredCandidate) -> float | None:
    """None where it was measured behind another prompt than the group's: a plan's, or a failed attempt's."""
    aside = candidate.repairs is not None or exchange.options.get("plans")
    return None if aside else candidate.mean_logprob


def _original(exchange: Exchange, candidate: StoredCandidate) -> int | None:
    if exchange.method == "off" or exchange.options.get("dedupe") != "ast":
        return None
    return candidate.index if candidate.duplicate_of is None else candidate.duplicate_of


def _written(
    exchange_id: str, said: dict[int, Said], hide: Callable[[str], str], task: Task | None
) -> Iterator[Response]:
    """What users wrote instead of choices. Where a suite will judge it (`task`), it is cut as candidates are."""
    for text, (kind, who) in ((text, by) for each in said.values() for text, by in each.texts.items()):
        clean = hide(text)
        if task is not None and task.shape != "chat":
            clean = extract(task, clean).text
        yield Response(
            text=clean,
            ended=True,
            program_class=None,
            fraction=None,
            score=DEMONSTRATED,
            source="user",
            model=who,
            exchange_id=exchange_id,
            said=kind,
        )


_DRAFT = tuple(name for name in Draft.__dataclass_fields__ if name != "responses")
_row_of_draft = attrgetter(*_DRAFT)


def to_bytes(draft: Draft) -> bytes:
    """A draft for a temporary file of this process."""
    return pickle.dumps((_row_of_draft(draft), [values_of(response) for response in draft.responses]), 5)


def from_bytes(data: bytes) -> Draft:
    """What `to_bytes` was given."""
    mine, theirs = pickle.loads(data)  # noqa: S301 - from a file without a name, which only this process has
    responses = tuple(Response(**dict(zip(RESPONSE_FIELDS, row, strict=True))) for row in theirs)
    return Draft(**dict(zip(_DRAFT, mine, strict=True)), responses=responses)
