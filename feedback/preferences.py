"""Logged exchanges as the datasets that TRL's trainers read. Pure.

Its *preference* format is `{"prompt", "chosen", "rejected"}`, its *unpaired preference* format `{"prompt",
"completion", "label"}`; of chats each is a list of messages, else a text (TRL, "Dataset formats and types").

A candidate is good or bad by what users said of it last (`accept`, `reject`); where nobody did, by its suite: `pass` or
any other class. What users wrote instead (`edit`, `demonstration`) is good, and the choice that they changed bad; an
edit that changed nothing accepts. Of a
candidate that nobody and nothing judged there is no record. The trainer's own groups (`touchstone train groups`) say
more: they rank, run what was not run and mind who said it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Literal

from feedback.redact import redact, redact_all
from feedback.types import Exchange, Logged, Signal, StoredCandidate
from feedback.words import Word, last_word

Record = dict[str, Any]
Form = Literal["preference", "unpaired"]


def why_not(exchange: Exchange) -> str | None:
    """Why nothing may be learnt from an exchange, or cannot in these formats; None where it can."""
    if exchange.options.get("may_train") is False:
        return "its key may not train"
    if exchange.prompt.get("no_text"):
        return "its text was not kept"
    kind = exchange.prompt.get("kind")
    if kind not in ("text", "chat"):
        return f"a prompt of kind {kind!r}, which is no text without a model's layout"
    if (exchange.options.get("redacted") or {}).get("prompt"):
        return "a secret in the prompt, so its verdicts are of another text"
    return None


def preferences(exchange: Exchange, signals: tuple[Signal, ...]) -> Iterator[Record]:
    """The best good answer beside every bad one: users' own words first, then the candidates by rank."""
    judged = _judged(exchange, signals)
    chosen = next((text for text, good in judged.items() if good), None)
    for text, good in judged.items():
        if chosen is not None and not good:
            yield {"prompt": _prompt(exchange), "chosen": _said(exchange, chosen), "rejected": _said(exchange, text)}


def unpaired(exchange: Exchange, signals: tuple[Signal, ...]) -> Iterator[Record]:
    """Every answer that was judged, once."""
    for text, good in _judged(exchange, signals).items():
        yield {"prompt": _prompt(exchange), "completion": _said(exchange, text), "label": good}


async def records(
    log: AsyncIterator[Logged], form: Form, left_out: Counter[str], on_exchange: Callable[[], None]
) -> AsyncIterator[Record]:
    """Every record of the log; `left_out` counts the exchanges that have none, by reason."""
    async for exchange, signals in log:
        reason = why_not(exchange)
        made = preferences(exchange, signals) if form == "preference" else unpaired(exchange, signals)
        found = list(made) if reason is None else []
        for record in found:
            yield record
        if not found:
            left_out[reason or "nothing good beside something bad, or nothing judged it"] += 1
        on_exchange()


def _judged(exchange: Exchange, signals: tuple[Signal, ...]) -> dict[str, bool]:
    """Answers and whether they are good: what users wrote first, then candidates by rank; of equal texts the first."""
    shown = {each.choice: _text(exchange, each) for each in exchange.candidates if each.choice is not None}
    said: dict[int, Word | None] = {}
    written: dict[str, bool] = {}
    for signal in signals:
        word = last_word(said.get(signal.choice), signal, shown.get(signal.choice, ""))
        said[signal.choice] = word
        if word == "edit" and signal.type in ("edit", "demonstration"):
            written[redact(signal.value)] = True
    found = dict(written)
    for candidate in sorted(exchange.candidates, key=lambda each: each.rank):
        word = None if candidate.choice is None else said.get(candidate.choice)
        good = None if word is None else word == "accept"
        if good is None and candidate.program_class is not None:
            good = candidate.program_class == "pass"
        text = _text(exchange, candidate)
        if good is not None and text.strip():
            found.setdefault(text, good)
    return found


def _text(exchange: Exchange, candidate: StoredCandidate) -> str:
    """Of a chat the whole reply, else what stands in the program."""
    return redact(candidate.raw_text if exchange.task.get("shape") == "chat" else candidate.text)


def _prompt(exchange: Exchange) -> Any:
    prompt = redact_all(exchange.prompt)
    return prompt["messages"] if prompt["kind"] == "chat" else prompt["text"]


def _said(exchange: Exchange, text: str) -> Any:
    return [{"role": "assistant", "content": text}] if exchange.prompt["kind"] == "chat" else text
