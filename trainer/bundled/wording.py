"""A chain of steps as a sentence, and a function's name, parameters and examples as people write them."""

import builtins
import keyword
from dataclasses import dataclass
from random import Random
from typing import Any

from trainer.bundled.pipeline import Pipeline
from trainer.bundled.step import ANNOTATIONS, Kind

VAGUE_RATE = 0.3
"""How often a step that has a vague phrase is told by it, so that only the examples say which step is meant."""

PARAMETERS: dict[Kind, tuple[str, ...]] = {
    "ints": ("numbers", "nums", "numbers", "xs", "values", "lst", "data", "arr"),
    "words": ("words", "strings", "items", "names", "words", "lst"),
    "text": ("text", "s", "string", "s", "sentence"),
    "counts": ("counts", "mapping", "d", "scores", "table"),
    "int": ("n", "number", "x", "a", "num"),
}
BASES: dict[Kind, tuple[str, ...]] = {
    "ints": ("the numbers", "the list", "a list of integers", "a list of numbers", "the given numbers", "`{p}`", "{p}"),
    "words": ("the words", "the list", "a list of words", "a list of strings", "the strings", "`{p}`", "{p}"),
    "text": ("the string", "the text", "a string", "the given string", "`{p}`", "{p}"),
    "counts": ("the dictionary", "a dictionary", "the mapping", "`{p}`", "{p}"),
    "int": ("the number", "a number", "an integer", "{p}", "`{p}`", "{p}"),
}
GENERIC_NAMES = (
    "solve", "transform", "process", "compute", "f", "convert", "solution", "calculate", "task", "apply_steps", "run",
    "handle", "func", "my_function", "get_result", "do_it",
)  # fmt: skip
GENERIC_BY_KIND: dict[Kind, tuple[str, ...]] = {
    "ints": ("process_numbers", "transform_list", "change_numbers"),
    "words": ("process_words", "transform_words", "select_words"),
    "text": ("process_text", "transform_text", "clean"),
    "counts": ("process_counts", "summarize", "update_counts"),
    "int": ("compute_number", "calc", "number_task"),
}
AFTER = (", then ", " and then ", ", and then ", " and ", ", then ")


@dataclass(frozen=True)
class Wording:
    """A sentence, and how many of its steps are told vaguely."""

    text: str
    vague: int


def _phrase(template: str, constant: str) -> str:
    return template.replace("{k}", constant)


def _say(random: Random, pipeline: Pipeline, constants: tuple[str, ...]) -> tuple[list[str], int]:
    says, vague = [], 0
    for step, constant in zip(pipeline.steps, constants, strict=True):
        if step.vague and random.random() < VAGUE_RATE:
            says.append(_phrase(random.choice(step.vague), constant))
            vague += 1
        else:
            says.append(_phrase(random.choice(step.says), constant))
    return says, vague


def _upper_first(text: str) -> str:
    return text[:1].upper() + text[1:]


def _imperative(random: Random, says: list[str], base: str) -> str:
    """Join imperative phrases in one of the usual sentence forms."""
    form = random.random()
    if len(says) == 1:
        return f"Given {base}, {says[0]}." if form < 0.15 else f"{_upper_first(says[0])}."
    if form < 0.45:
        text = says[0]
        for index, phrase in enumerate(says[1:]):
            text += (", " if index < len(says) - 2 else random.choice(AFTER)) + phrase
        return f"{_upper_first(text)}."
    if form < 0.6:
        return f"Given {base}, {', '.join(says[:-1])} and {says[-1]}."
    if form < 0.75:
        middle = "".join(f" Then {phrase}." for phrase in says[1:-1])
        return f"First {says[0]}.{middle} {random.choice(('Finally', 'Then', 'At the end,'))} {says[-1]}."
    if form < 0.9:
        return " ".join(f"{_upper_first(phrase)}." for phrase in says)
    return f"{_upper_first(', '.join(says[:-1]))}, and {says[-1]}. Return the result."


def _nominal(random: Random, pipeline: Pipeline, constants: tuple[str, ...], base: str) -> str:
    """Nest noun phrases: "Return the sum of the squares of the even numbers in the list."."""
    noun = base
    for step, constant in zip(pipeline.steps, constants, strict=True):
        noun = _phrase(random.choice(step.nouns), constant).replace("{x}", noun)
    if noun.startswith("whether "):
        rest = noun.removeprefix("whether ")
        forms = (f"Return True if {rest}, else False.", f"Check whether {rest}.", f"Return whether {rest}.")
        return random.choice((*forms, f"Check if {rest}.", f"Return True if {rest}."))
    if noun.startswith("how "):
        return random.choice((f"Return {noun}.", f"Count {noun}."))
    verb = random.choice(("Return", "Return", "Return", "Compute", "Find", "Get", ""))
    return f"{verb} {noun}." if verb else f"{_upper_first(noun)}."


def draw_wording(
    random: Random, pipeline: Pipeline, constants: tuple[str, ...], parameter: str, vague: bool
) -> Wording:
    """Tell a chain in words; `vague` allows phrases that need the examples."""
    base = random.choice(BASES[pipeline.takes]).replace("{p}", parameter)
    says, count = _say(random, pipeline, constants)
    if len(pipeline.steps) <= 3 and (not vague or count == 0) and random.random() < 0.5:
        return Wording(_nominal(random, pipeline, constants, base), 0)
    if count and not vague:
        says = [_phrase(random.choice(step.says), k) for step, k in zip(pipeline.steps, constants, strict=True)]
        count = 0
    return Wording(_imperative(random, says, base), count)


def _is_free(name: str) -> bool:
    return name.isidentifier() and not keyword.iskeyword(name) and not hasattr(builtins, name)


def draw_name(random: Random, pipeline: Pipeline, taken: set[str]) -> str:
    """Name a function: half of the names tell nothing, the others are made of the steps' keys.

    Never a builtin (a body that calls the builtin would recurse) and never a parameter.
    """
    keys = [key.removesuffix("_words") for key in pipeline.keys]
    draw = random.random()
    if draw < 0.5:
        options = GENERIC_NAMES + GENERIC_BY_KIND[pipeline.takes] * 2
        name = random.choice(options)
    elif len(keys) == 1 and draw < 0.75:
        name = random.choice(("get_", "find_", "", "")) + keys[0]
    elif len(keys) == 2 and draw < 0.65:
        name = f"{keys[1]}_of_{keys[0]}"
    else:
        name = random.choice(("_", "_and_", "_")).join(keys)
    if len(name) > 44 or not _is_free(name) or name in taken:
        name = random.choice(GENERIC_NAMES[:8])
    return name


def signature(random: Random, name: str, parameters: list[tuple[str, Kind]], gives: Kind) -> str:
    """Write the `def` line, with annotations four times in five, and the old `List[int]` form at times."""
    if random.random() < 0.2:
        return f"def {name}({', '.join(parameter for parameter, _ in parameters)}):\n"
    typed = ", ".join(f"{parameter}: {ANNOTATIONS[kind]}" for parameter, kind in parameters)
    line = f"def {name}({typed}) -> {ANNOTATIONS[gives]}:\n"
    if random.random() < 0.12 and ("list[" in line or "dict[" in line):
        needed = [word for word in ("Dict", "List") if word.lower() + "[" in line]
        line = line.replace("list[", "List[").replace("dict[", "Dict[")
        return f"from typing import {', '.join(needed)}\n\n\n{line}"
    return line


def call(name: str, arguments: tuple[Any, ...]) -> str:
    """Write a call with literal arguments."""
    return f"{name}({', '.join(map(repr, arguments))})"
