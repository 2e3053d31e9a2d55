"""One step of a synthetic problem: a small typed operation with several wordings and several implementations.

A step maps a value of one kind to a value of another. Its implementations are Python text in which `X` stands for
the input, `OUT` for the output variable, `K` for the step's small constant and `v`/`w` for loop variables that
may be renamed. Three forms exist:

- *expression*: no `OUT` and no `return`; can be inlined into the next step;
- *block*: statements that assign `OUT`;
- *ending*: statements that `return`; usable as the last step only.

All implementations of one step agree on every input the step accepts (`tests/trainer/test_steps.py` checks it).
"""

import functools
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["ints", "words", "text", "counts", "int", "bool", "float"]
"""What flows between steps: list[int], list[str], str, dict[str, int], int, bool, float."""

Implementation = Callable[[Any, int], Any]

ANNOTATIONS: dict[Kind, str] = {
    "ints": "list[int]",
    "words": "list[str]",
    "text": "str",
    "counts": "dict[str, int]",
    "int": "int",
    "bool": "bool",
    "float": "float",
}


@dataclass(frozen=True, kw_only=True)
class Step:
    """One typed operation.

    `says` are imperative phrases ("square each number"), `nouns` are noun phrases around `{x}` ("the squares of
    {x}"), `vague` are phrases that several steps share, so that only the examples tell which one is meant. `k` is
    the inclusive range of the constant written `{k}` in phrases and `K` in code; `None` if the step has none.
    `within` bounds the integer the step accepts (inclusive), as loops over ranges would otherwise run for ever.
    """

    key: str
    takes: Kind
    gives: Kind
    says: tuple[str, ...]
    nouns: tuple[str, ...]
    codes: tuple[str, ...]
    vague: tuple[str, ...] = ()
    k: tuple[int, int] | None = None
    within: tuple[int, int] | None = None
    non_empty: bool = False

    def accepts(self, value: Any) -> bool:
        """Whether the step is defined on a value of its kind."""
        if self.within is not None and not self.within[0] <= value <= self.within[1]:
            return False
        return bool(value) or not self.non_empty


def is_expression(code: str) -> bool:
    """Whether an implementation is an expression, hence can be inlined."""
    return "OUT" not in code and not is_ending(code)


def is_ending(code: str) -> bool:
    """Whether an implementation returns by itself, hence can only be the last one."""
    return "return " in code


@functools.cache
def compile_code(code: str) -> Implementation:
    """Turn one implementation into a function of (X, K)."""
    if is_expression(code):
        body = f"return {code}"
    elif is_ending(code):
        body = code
    else:
        body = f"{code}\nreturn OUT"
    source = f"def step(X, K):\n{textwrap.indent(body, '    ')}\n"
    scope: dict[str, Any] = {}
    exec(compile(source, "<step>", "exec"), scope)  # noqa: S102  (our own table, never a user's text)
    function: Implementation = scope["step"]
    return function


def within_bounds(value: Any) -> bool:
    """Whether a value is small enough to feed to the next step.

    Steps may grow their input (repeat, factorial, ranges); a bound between any two steps keeps every chain short in
    time and memory.
    """
    if isinstance(value, bool):
        return True
    if isinstance(value, int | float):
        return abs(value) <= 1_000_000
    if isinstance(value, str):
        return len(value) <= 60
    if isinstance(value, dict):
        return len(value) <= 12 and all(abs(number) <= 100_000 for number in value.values())
    return len(value) <= 20 and all(within_bounds(item) for item in value)


def apply(step: Step, value: Any, k: int) -> Any:
    """Run the first implementation of a step.

    Raises:
        ValueError: the step does not accept this value, or its result is out of bounds.
        IndexError, KeyError, ZeroDivisionError: the operation is undefined here (the maximum of nothing).
    """
    if not step.accepts(value):
        raise ValueError(step.key)
    result = compile_code(step.codes[0])(value, k)
    if not within_bounds(result):
        raise ValueError(step.key)
    return result
