"""From one exchange of the log to what it adds to a group. Pure; nothing is run and nothing is ranked here.

Of a response's `score` only the users' part is set; the suite's part is added when the group is complete.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

from feedback import Exchange, InvalidExchange, Logged, StoredCandidate, dumps, loads, prompt_hash, task_from_data
from reranker import extract
from sandbox import ProgramClass
from trainer.groups.ladder import DEMONSTRATED
from trainer.groups.redact import redact, redact_all
from trainer.groups.settings import Settings
from trainer.groups.types import Response
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
    if not settings.may_train(exchange.key_id):
        return "its key may not train"
    if exchange.prompt.get("no_text"):
        return "its text was not kept"
    if exchange.prompt.get("kind") == "tokens":
        return "a prompt of token ids, which cannot be searched for secrets"
    if exchange.suite is not None and redact_all(exchange.suite.get("body")) != exchange.suite.get("body"):
        return "a secret in the suite"
    return None


def draft_of(logged: Logged, settings: Settings, notes: Counter[str]) -> Draft:
    """What an exchange that may be trained on adds; `notes` counts the responses left out, by reason.

    Raises `InvalidExchange`, naming the exchange, for a record that cannot be read.
    """
    exchange, _ = logged
    try:
        return _draft(logged, settings, notes)
    except (ValueError, TypeError, KeyError, AttributeError, InvalidExchange) as error:
        raise InvalidExchange(f"exchange {exchange.id}: {error}") from error


def _draft(logged: Logged, settings: Settings, notes: Counter[str]) -> Draft:
    exchange, signals = logged
    prompt, task = redact_all(exchange.prompt), redact_all(exchange.task)
    redacted = prompt != exchange.prompt or task != exchange.task
    notes["prompts redacted"] += redacted
    suite = exchange.suite
    if suite is not None and suite["form"] == "asserts_in_process":
        suite = None
        notes["suites that a candidate could forge"] += 1
    shown = {c.choice: c.text for c in exchange.candidates if c.choice is not None}
    said, unheard = heard(signals, shown, settings.rating_scale)
    notes["signals that say nothing here"] += unheard
    found: list[tuple[Response, int | None]] = []
    for candidate in exchange.candidates:
        response = _response(exchange, candidate, said, notes, suite is not None)
        if response is not None:
            # A verdict on another text is none.
            unsure = replace(response, program_class=None, fraction=None) if redacted or suite is None else response
            found.append((unsure, _original(exchange, candidate)))
    found += [(response, None) for response in _written(exchange, said, prompt, task, suite is not None, notes)]
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


def _response(
    exchange: Exchange, candidate: StoredCandidate, said: dict[int, Said], notes: Counter[str], judged: bool
) -> Response | None:
    """A candidate as a response; None, and a note, where it is none."""
    chat = exchange.task.get("shape") == "chat"
    text, ended = candidate.raw_text if chat else candidate.text, _ended(candidate, chat)
    clean = redact(text)
    if candidate.finish_reason == "cancelled":
        why = "cancelled before its end"
    elif chat and candidate.repairs is not None:
        why = "a repair, which answers another message"
    elif not text and not ended:
        why = "empty"
    elif clean != text and judged:
        why = "a secret in a judged program"
    else:
        notes["responses redacted"] += clean != text
        mine = None if candidate.choice is None else said.get(candidate.choice)
        return Response(
            text=clean,
            ended=ended,
            program_class=None if candidate.program_class is None else ProgramClass(candidate.program_class),
            fraction=_fraction(candidate),
            score=None if mine is None else mine.worth,
            source="student",
            model=exchange.model,
            round=exchange.round,
            exchange_id=exchange.id,
            shown=candidate.choice is not None,
            rank=candidate.rank,
            propensity=_propensity(exchange, candidate),
            mean_logprob=_mean_logprob(exchange, candidate),
            said=None if mine is None else mine.word,
        )
    notes[why] += 1
    return None


def _ended(candidate: StoredCandidate, chat: bool) -> bool:
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
    exchange: Exchange,
    said: dict[int, Said],
    prompt: dict[str, Any],
    task: dict[str, Any],
    judged: bool,
    notes: Counter[str],
) -> list[Response]:
    """What users wrote instead of choices. Where a suite will judge it, it is cut as candidates are."""
    found = []
    for text, (kind, who) in ((text, by) for each in said.values() for text, by in each.texts.items()):
        clean = redact(text)
        notes["responses redacted"] += clean != text
        if judged and task.get("shape") != "chat":
            clean = extract(task_from_data(exchange.id, prompt, task), clean).text
        found.append(
            Response(
                text=clean,
                ended=True,
                program_class=None,
                fraction=None,
                score=DEMONSTRATED,
                source="user",
                model=who,
                exchange_id=exchange.id,
                said=kind,
            )
        )
    return found


_RESPONSE = tuple(Response.__dataclass_fields__)
_DRAFT = tuple(name for name in Draft.__dataclass_fields__ if name != "responses")


def to_bytes(draft: Draft) -> bytes:
    """A draft as one line, without its end."""
    responses = [[getattr(response, name) for name in _RESPONSE] for response in draft.responses]
    return dumps([[getattr(draft, name) for name in _DRAFT], responses]).encode("ascii")


def from_bytes(line: bytes) -> Draft:
    """What `to_bytes` was given."""
    mine, theirs = loads(line.decode("ascii"))
    data = dict(zip(_DRAFT, mine, strict=True))
    responses = tuple(_response_from(dict(zip(_RESPONSE, row, strict=True))) for row in theirs)
    return Draft(**{**data, "originals": tuple(data["originals"])}, responses=responses)


def _response_from(row: dict[str, Any]) -> Response:
    value = row["program_class"]
    return Response(**{**row, "program_class": None if value is None else ProgramClass(value)})
