"""Which signals are let in, and which are repeats: one rule for every store. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from feedback.errors import ForeignExchange, UnknownChoice, UnknownExchange
from feedback.types import Receipt, Signal

RepeatKey = tuple[str, str]
"""Source and idempotency key: what makes two signals the same one."""


@dataclass(frozen=True, slots=True)
class Target:
    """What a signal must agree with: whose exchange it is, and what was shown."""

    key_id: str | None
    choices: frozenset[int]


def repeat_key(signal: Signal) -> RepeatKey | None:
    """None where the signal is never a repeat."""
    return None if signal.idempotency_key is None else (signal.source, signal.idempotency_key)


def admit(
    signals: Sequence[Signal], key_id: str | None, targets: Mapping[str, Target], first_ids: Mapping[RepeatKey, str]
) -> tuple[tuple[Receipt, ...], list[Signal]]:
    """A receipt for each signal, and those of them to store; all or none.

    `targets` and `first_ids` say what is stored, for the exchanges and repeat keys of these signals. Raises
    `UnknownExchange`, `ForeignExchange`, `UnknownChoice`.
    """
    receipts, new, here = [], [], dict[RepeatKey, str]()
    for signal in signals:
        _check(signal, key_id, targets.get(signal.exchange_id))
        key = repeat_key(signal)
        first_id = None if key is None else first_ids.get(key) or here.get(key)
        receipts.append(Receipt(id=first_id or signal.id, duplicate=first_id is not None))
        if first_id is None:
            new.append(signal)
            if key is not None:
                here[key] = signal.id
    return tuple(receipts), new


def _check(signal: Signal, key_id: str | None, target: Target | None) -> None:
    if target is None:
        raise UnknownExchange(signal.exchange_id)
    if key_id is not None and target.key_id != key_id:
        raise ForeignExchange(f"{signal.exchange_id} is another key's")
    if signal.choice not in target.choices:
        raise UnknownChoice(f"{signal.exchange_id} has no choice {signal.choice}")
