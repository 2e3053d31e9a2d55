"""Inputs made up from examples: AlphaCode's generated test inputs (arXiv 2203.07814, section 4.6) without its model.

Inputs need not make sense, as nobody says what they should give; they only have to tell programs apart. So arguments
that the examples show are changed at random, each keeping its type.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

from reranker.types import Trials
from sandbox import Call, CallSuite, Input, ObserveSuite, write_literal

SEED = 2203
"""Fixed: the same examples make the same inputs in every process."""
MAX_CHANGES = 3
"""To one input; every second input is changed once."""
MAX_ITEMS = 1_000
"""Longer strings and containers do not grow."""
_TRIES = 20
"""For each input wanted; some changes change nothing, or make what was there before."""


def inputs_from(examples: CallSuite, n: int) -> Trials:
    """Up to `n` inputs by changing the examples' arguments: distinct, none an example's own, each of weight 1.

    Fewer where the arguments leave no room, none without examples. Deterministic.
    """
    chance = random.Random(SEED)  # noqa: S311  nothing secret
    seen = {key for call in examples.calls if (key := _key(call.function, call.args, call.kwargs))}
    found: list[Input] = []
    calls = [call for call in examples.calls if call.args or call.kwargs]
    for number in range(n * _TRIES if calls else 0):
        if len(found) == n:
            break
        call = calls[number % len(calls)]
        args, kwargs = _changed_call(call, calls, chance)
        key = _key(call.function, args, kwargs)
        if key is not None and key not in seen:
            seen.add(key)
            found.append(Input(function=call.function, args=args, kwargs=kwargs))
    return Trials(suite=ObserveSuite(tuple(found), visible=True), weights=(1,) * len(found))


def _key(function: str, args: object, kwargs: object) -> str | None:
    try:
        return f"{function}{write_literal((args, kwargs))}"
    except ValueError:  # nested too deep, or no plain data
        return None


def _changed_call(
    call: Call, calls: Sequence[Call], chance: random.Random
) -> tuple[tuple[Any, ...], tuple[tuple[str, Any], ...]]:
    """The arguments of a call, one to three times changed; now and then one is another example's in its place."""
    args, kwargs = list(call.args), list(call.kwargs)
    for _ in range(chance.choice((1, 1, 2, MAX_CHANGES))):
        place = chance.randrange(len(args) + len(kwargs))
        if place >= len(args):
            name, value = kwargs[place - len(args)]
            kwargs[place - len(args)] = name, change(value, chance)
            continue
        others = [other.args[place] for other in calls if len(other.args) > place]
        other = chance.choice(others)
        swap = chance.random() < 0.2 and type(other) is type(args[place])
        args[place] = other if swap else change(args[place], chance)
    return tuple(args), tuple(kwargs)


def change(value: Any, chance: random.Random) -> Any:
    """Another value of the same type, near `value`; a value that has no neighbours, such as None, is itself."""
    match value:
        case bool():
            return not value
        case int():
            near = (value + 1, value - 1, -value, 2 * value, 0, chance.randint(-abs(value) - 10, abs(value) + 10))
            return chance.choice(near)
        case float():
            return chance.choice((value + 1, value - 0.5, -value, 2 * value, value / 2, 0.0, float(round(value, 1))))
        case complex():
            return complex(value.imag, -value.real)
        case str() | bytes() | list() | tuple():
            return _changed_sequence(value, chance)
        case set() | frozenset():
            return type(value)(_changed_items(sorted(value, key=repr), chance, change))
        case dict():
            return dict(_changed_items(list(value.items()), chance, _changed_pair))
    return value


def _changed_sequence(value: Any, chance: random.Random) -> Any:
    """A string by its characters, a list or tuple by its items."""
    if isinstance(value, str):
        return "".join(_changed_items(list(value), chance, _changed_character))
    if isinstance(value, bytes):
        return bytes(_changed_items(list(value), chance, lambda byte, chance: (byte + chance.randint(1, 255)) % 256))
    return type(value)(_changed_items(list(value), chance, change))


def _changed_items(items: list[Any], chance: random.Random, alter: Callable[[Any, random.Random], Any]) -> list[Any]:
    """One item gone, twice there, altered or moved, or the order turned round; nothing becomes of no items."""
    if not items:
        return items
    place = chance.randrange(len(items))
    before, item, after = items[:place], items[place], items[place + 1 :]
    altered = [*before, alter(item, chance), *after]
    doubled = [*items, item] if len(items) < MAX_ITEMS else items
    return chance.choice(([*before, *after], doubled, altered, altered, [*before, *after, item], items[::-1]))


def _changed_character(character: str, chance: random.Random) -> str:
    """Of the same kind: a digit, a letter of either case, or a mark."""
    for kind in ("0123456789", "abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "()[]{}<>", " .,;:!?-_"):
        if character in kind:
            return chance.choice(kind)
    return character


def _changed_pair(pair: tuple[Any, Any], chance: random.Random) -> tuple[Any, Any]:
    return pair[0], change(pair[1], chance)
