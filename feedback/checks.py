"""What every store refuses before it writes: values that do not fit their type, times without a zone, NaN."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import fields
from datetime import datetime
from functools import cache
from operator import attrgetter
from typing import Any

from feedback.errors import FeedbackError, InvalidExchange, InvalidSignal
from feedback.types import Exchange, Signal

MAX_INTEGER = 2**31 - 1
_MAY_BE_A_NUMBER = re.compile(r"\b(?:int|float|Any)\b")


def check_exchange(exchange: Exchange) -> None:
    """Raises `InvalidExchange`, naming the field: no zone, NaN, an integer over 32 bits, candidates out of order."""
    _check_time(exchange.created_at, InvalidExchange)
    _check_numbers(exchange, "", InvalidExchange)
    for position, candidate in enumerate(exchange.candidates):
        _check_numbers(candidate, f"candidates[{position}].", InvalidExchange)
    indices = [candidate.index for candidate in exchange.candidates]
    if indices != sorted(set(indices)):
        raise InvalidExchange("candidates: not in the order of distinct indices")


def check_signal(signal: Signal) -> None:
    """Raises `InvalidSignal`, naming the field: the value must fit the type, numbers must be finite."""
    _check_time(signal.created_at, InvalidSignal)
    _check_numbers(signal, "", InvalidSignal)
    for name in ("elapsed_ms", "retained_after_s"):
        number = getattr(signal, name)
        if number is not None and not math.isfinite(number):
            raise InvalidSignal(f"{name}: not a finite number")
    if not all(isinstance(key, str) and isinstance(value, str) for key, value in signal.tags.items()):
        raise InvalidSignal("tags: not all names and values are text")
    _check_value(signal)


def _check_value(signal: Signal) -> None:
    value: Any = signal.value
    match signal.type:
        case "accept" | "reject":
            fits, wanted = value is None or isinstance(value, bool), "true, false or nothing"
        case "edit" | "comment" | "demonstration":
            fits, wanted = isinstance(value, str), "text"
        case "rating":
            fits, wanted = _is_number(value) and math.isfinite(value), "a finite number"
        case "tests":
            fits, wanted = _is_counts(value), '{"passed", "failed"} with counts from 0'
        case _:
            raise InvalidSignal(f"type: {signal.type!r} is unknown")
    if not fits:
        raise InvalidSignal(f"value: {signal.type} takes {wanted}")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= 1e308


def _is_counts(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and value.keys() == {"passed", "failed"}
        and all(type(count) is int and 0 <= count <= MAX_INTEGER for count in value.values())
    )


def _check_time(moment: datetime, refusal: type[FeedbackError]) -> None:
    if moment.tzinfo is None:
        raise refusal("created_at: has no time zone")


def _check_numbers(record: Any, where: str, refusal: type[FeedbackError]) -> None:
    cls: type = type(record)
    names, values = _number_fields(cls)
    for name, value in zip(names, values(record), strict=True):
        if type(value) is int and abs(value) > MAX_INTEGER and name != "value":
            raise refusal(f"{where}{name}: over 32 bits")
        if isinstance(value, float) and math.isnan(value):
            raise refusal(f"{where}{name}: not a number")


@cache
def _number_fields(cls: type) -> tuple[tuple[str, ...], Callable[[Any], tuple[Any, ...]]]:
    """The names of the fields that may be a number by their type, and what reads all of them."""
    names = tuple(field.name for field in fields(cls) if _MAY_BE_A_NUMBER.search(str(field.type)))
    return names, attrgetter(*names)
