"""Inputs to try programs on where nobody wrote tests: variations of those in the prompt's examples.

Type-aware mutation as in EvalPlus (Liu et al. 2023, arXiv:2305.01210, section 2.2): values of the same types, changed a
little, and the empty ones.
"""

from __future__ import annotations

from collections.abc import Iterable
from random import Random
from typing import Any

from sandbox import CallSuite, Input, ObserveSuite

TRIALS = 8
_TRIES = 12


def variations(examples: CallSuite | None, random: Random, count: int = TRIALS) -> ObserveSuite | None:
    """Up to `count` distinct inputs, none of them an example's; None without examples or without variations."""
    if examples is None:
        return None
    calls = examples.calls
    seen = {repr(call.args) for call in calls}
    inputs: list[Input] = []
    for _ in range(count * _TRIES):
        if len(inputs) == count:
            break
        call = random.choice(calls)
        args = tuple(_vary(random.choice(calls).args[place] if _alike(calls, place) else value, random)
                     for place, value in enumerate(call.args))  # fmt: skip
        if repr(args) not in seen:
            seen.add(repr(args))
            inputs.append(Input(function=call.function, args=args, kwargs=call.kwargs))
    return ObserveSuite(tuple(inputs)) if inputs else None


def _alike(calls: Iterable[Any], place: int) -> bool:
    return all(len(call.args) > place for call in calls)


def _vary(value: Any, random: Random) -> Any:
    if isinstance(value, bool) or value is None:
        return value if value is None else random.random() < 0.5
    if isinstance(value, int):
        return random.choice((value, value + 1, value - 1, value + random.randint(-9, 9), 2 * value, -value, 0))
    if isinstance(value, float):
        return random.choice((value, value + 1.0, -value, value / 2, 0.0))
    if isinstance(value, str):
        return _vary_text(value, random)
    if isinstance(value, list | tuple | set | frozenset):
        return type(value)(_vary_items(list(value), random))
    if isinstance(value, dict):
        return {key: _vary(item, random) for key, item in value.items() if random.random() < 0.85}
    return value


def _vary_items(items: list[Any], random: Random) -> list[Any]:
    """Shuffled, shortened, repeated or changed in places; seldom empty."""
    if not items or random.random() < 0.08:
        return []
    items = [_vary(item, random) if random.random() < 0.4 else item for item in items]
    change = random.randrange(5)
    if change == 0:
        random.shuffle(items)
    elif change == 1:
        items = items[: random.randint(1, len(items))]
    elif change == 2:
        items.insert(random.randrange(len(items) + 1), random.choice(items))
    elif change == 3:
        items = [*items[::-1], _vary(random.choice(items), random)]
    return items


def _vary_text(text: str, random: Random) -> str:
    words = text.split(" ")
    change = random.randrange(6)
    if change == 0 or not text:
        return "" if text else random.choice(("a", "Ab 1", " "))
    if change == 1:
        return text.swapcase() if random.random() < 0.5 else text.upper()
    if change == 2 and len(words) > 1:
        random.shuffle(words)
        return " ".join(words)
    if change == 3 and len(words) > 1:
        words.pop(random.randrange(len(words)))
        return " ".join(words)
    place = random.randrange(len(text))
    if change == 4:
        return text[:place] + random.choice((" ", "e", "7", text[place])) + text[place:]
    return text[:place] + text[place + 1 :] + random.choice(("", text[place]))
