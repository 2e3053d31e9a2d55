"""Which steps follow one another: a typed chain, the held-out split, and running a chain within bounds."""

import hashlib
from dataclasses import dataclass
from random import Random
from typing import Any

from trainer.bundled.inputs import draw_input
from trainer.bundled.step import Kind, Step, apply
from trainer.bundled.table import BY_KIND

STEP_WEIGHTS = {1: 0.30, 2: 0.45, 3: 0.20, 4: 0.05}
"""Lengths of the chains in training."""

HELD_OUT_WEIGHTS = {2: 0.60, 3: 0.25, 4: 0.15}
"""Lengths of the chains of evaluation problems."""

START_WEIGHTS: dict[Kind, float] = {"ints": 0.36, "words": 0.20, "text": 0.22, "counts": 0.08, "int": 0.14}
HELD_OUT_SHARE = 12  # one composition in so many is held out
UNDEFINED = (ValueError, IndexError, KeyError, ZeroDivisionError)
"""What a chain raises on an input it is undefined or unbounded on."""


@dataclass(frozen=True)
class Pipeline:
    """A chain of steps; `ks` holds each step's constant (0 where a step has none)."""

    steps: tuple[Step, ...]
    ks: tuple[int, ...]

    @property
    def keys(self) -> tuple[str, ...]:
        """The composition: the steps' keys in order, without constants."""
        return tuple(step.key for step in self.steps)

    @property
    def takes(self) -> Kind:
        """The kind of the input."""
        return self.steps[0].takes

    @property
    def gives(self) -> Kind:
        """The kind of the result."""
        return self.steps[-1].gives

    def run(self, value: Any, ks: tuple[int, ...] | None = None) -> Any:
        """Run the chain on a value by its first implementations.

        Raises:
            ValueError, IndexError, KeyError, ZeroDivisionError: undefined or out of bounds on this value.
        """
        for step, k in zip(self.steps, self.ks if ks is None else ks, strict=True):
            value = apply(step, value, k)
        return value


def is_held_out(keys: tuple[str, ...]) -> bool:
    """Whether a composition is kept out of training.

    Single steps are all seen, or their words could not be learnt; a held-out composition's parts may be seen.
    """
    if len(keys) < 2:
        return False
    digest = hashlib.md5("|".join(keys).encode(), usedforsecurity=False).digest()
    return int.from_bytes(digest[:4], "big") % HELD_OUT_SHARE == 0


def draw_pipeline(random: Random, weights: dict[int, float]) -> Pipeline:
    """Draw a chain whose kinds fit, without repeating a step."""
    length = random.choices(list(weights), list(weights.values()))[0]
    while True:
        kind: Kind = random.choices(list(START_WEIGHTS), list(START_WEIGHTS.values()))[0]
        chosen: list[Step] = []
        while len(chosen) < length:
            options = [
                step
                for step in BY_KIND[kind]
                if step not in chosen and (len(chosen) == length - 1 or step.gives in BY_KIND)
            ]
            chosen.append(random.choice(options))
            kind = chosen[-1].gives
        return Pipeline(tuple(chosen), tuple(random.randint(*step.k) if step.k else 0 for step in chosen))


def draw_cases(pipeline: Pipeline, random: Random, count: int) -> list[tuple[Any, Any]]:
    """Draw inputs on which the chain is defined, with their results; fewer than asked if it seldom is."""
    cases: list[tuple[Any, Any]] = []
    for _ in range(2 * count):
        value = draw_input(pipeline.takes, random)
        try:
            result = pipeline.run(value)
        except UNDEFINED:
            continue
        cases.append((value, result))
        if len(cases) == count:
            break
    return cases


def is_informative(cases: list[tuple[Any, Any]], least: int) -> bool:
    """Whether examples tell something: enough of them, results that differ, and are not mostly empty or the input."""
    if len(cases) < least:
        return False
    distinct = {repr(result) for _, result in cases}
    blank = sum(1 for value, result in cases if result == value or (not isinstance(result, bool | int) and not result))
    return len(distinct) >= 2 and blank * 2 <= len(cases)
