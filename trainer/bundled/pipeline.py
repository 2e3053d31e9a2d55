"""Which steps follow one another: a typed chain, the held-out split, and running a chain within bounds."""

import functools
import hashlib
from dataclasses import dataclass
from random import Random
from typing import Any

from trainer.bundled.inputs import draw_input
from trainer.bundled.step import Kind, Step, apply
from trainer.bundled.table import BY_KIND

STEP_WEIGHTS = {1: 0.30, 2: 0.45, 3: 0.20, 4: 0.05}
"""Lengths of the chains in training."""

HELD_OUT_LENGTHS = (2, 3, 4)
"""Lengths of the chains of evaluation problems, in turn: a suite of easy ones would leave nothing to choose."""

START_WEIGHTS: dict[Kind, float] = {"ints": 0.36, "words": 0.20, "text": 0.22, "counts": 0.08, "int": 0.14}
HELD_OUT_SHARE = 12  # one composition in so many is held out
COMMON_WEIGHT = 4  # how much oftener a common step is drawn than another
COMMON = frozenset(
    """
    even odd positive negative nonzero above below multiples primes square double absolute increment add_k times_k sort
    sort_descending smallest_k largest_k running_sum sum product mean maximum minimum first last most_common count_even
    count_odd count_positive count_above as_strings join_commas join_spaces number_counts reverse first_k last_k
    every_second unique unique_sorted repeated_ones size distinct_size reverse_words unique_words size_words
    first_k_words longer_than shorter_than vowel_start uppercase_words lowercase_words capitalize_words reverse_each
    first_letters alphabetical by_length longest shortest spaced comma_separated concatenated lengths total_letters
    word_counts length_map uppercase lowercase no_spaces no_vowels only_digits only_letters unique_letters first_word
    last_word longest_word reverse_text reverse_word_order sort_chars split characters length count_vowels count_words
    count_digits distinct_chars char_counts is_palindrome is_prime is_even factorial fibonacci digit_sum divisors
    digits count_up squares_to primes_to as_text binary squared twice keys values sum_values max_value top_key
    values_above sorted_keys
    """.split()  # noqa: SIM905  (a list of a hundred would fill the page)
)
"""Keys of the steps that people ask for; without their weight the plainest prompts would be the rarest pairs."""
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


@functools.cache
def is_held_out(keys: tuple[str, ...]) -> bool:
    """Whether a composition is kept for evaluation, in whatever order: many steps commute.

    Single steps are all seen, or their words could not be learnt.
    """
    if len(keys) < 2:
        return False
    digest = hashlib.md5("|".join(sorted(keys)).encode(), usedforsecurity=False).digest()
    return int.from_bytes(digest[:4], "big") % HELD_OUT_SHARE == 0


def shows_held_out(keys: tuple[str, ...]) -> bool:
    """Whether a composition is held out or has a held-out one inside: such a chain is never trained on.

    The reverse is allowed: parts of a held-out composition may be seen.
    """
    return any(is_held_out(keys[start:end]) for start in range(len(keys)) for end in range(start + 2, len(keys) + 1))


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
            chosen.append(random.choices(options, [_weight(step) for step in options])[0])
            kind = chosen[-1].gives
        return Pipeline(tuple(chosen), tuple(random.randint(*step.k) if step.k else 0 for step in chosen))


def _weight(step: Step) -> int:
    return COMMON_WEIGHT if step.key in COMMON else 1


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
