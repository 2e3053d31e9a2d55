"""A chain of steps as the body of a function.

Three styles: one statement a step; steps folded into one another (to a depth of two, as deeper nests taught the trial
model to lose brackets); and one that keeps re-assigning the parameter. Loop variables and temporaries are renamed, but
never to a name that is still alive: shadowing would make the reference wrong.
"""

import ast
import functools
import re
from dataclasses import dataclass
from random import Random

from trainer.bundled.step import Kind, Step, is_ending, is_expression

TEMPORARIES: dict[Kind, tuple[str, ...]] = {
    "ints": ("result", "values", "kept"),
    "words": ("result", "parts", "kept"),
    "text": ("result", "text", "out"),
    "counts": ("result", "counts", "table"),
    "int": ("result", "value", "total"),
    "bool": ("result", "answer"),
    "float": ("result", "value"),
}
ITEMS: dict[Kind, tuple[str, ...]] = {
    "ints": ("x", "n", "v"),
    "words": ("w", "word", "s"),
    "text": ("c", "ch", "c"),
    "counts": ("x",),
    "int": ("x",),
    "bool": ("x",),
    "float": ("x",),
}
NAME = re.compile(r"\b(X|OUT|K|v|w)\b(?![\"'])")


@dataclass(frozen=True)
class Names:
    """What a body may refer to: the parameter, and for each step its constant as it is written."""

    parameter: str
    constants: tuple[str, ...]


@functools.cache
def _locals(code: str) -> frozenset[str]:
    """Every plain name an implementation uses, apart from the placeholders."""
    return frozenset(re.findall(r"(?<![.\w])[a-z_]\w*\b", code)) - {"v", "w"}


@functools.cache
def _is_atomic(expression: str) -> bool:
    """Whether an expression keeps its meaning when something is appended to it or it becomes an operand."""
    node = ast.parse(expression, mode="eval").body
    kinds = ast.Call | ast.List | ast.ListComp | ast.Name | ast.Subscript | ast.DictComp | ast.Attribute
    return isinstance(node, kinds)


def _avoid(code: str, alive: set[str]) -> str:
    """Rename the locals of an implementation that would overwrite a parameter (`a, b = 0, 1` when `a` is one)."""
    for name in sorted(_locals(code) & alive):
        code = re.sub(rf"(?<![.\w\"']){name}(?![\w\"'])", f"{name}_2", code)
    return code


def _fill(code: str, names: dict[str, str]) -> str:
    return NAME.sub(lambda match: names.get(match[0], match[0]), code)


@functools.cache
def _takes_inner(code: str) -> bool:
    """Whether an expression can stand in for X: X occurs once, and not inside an f-string (quotes would clash)."""
    return len(re.findall(r"\bX\b", code)) == 1 and 'f"' not in code


def _item_name(random: Random, kind: Kind, alive: set[str], code: str) -> str:
    taken = alive | _locals(code)
    options = [name for name in ITEMS[kind] if name not in taken] or ["item"]
    return options[0] if random.random() < 0.6 else random.choice(options)


def _choose_code(random: Random, step: Step, last: bool) -> str:
    """Pick an implementation, the first (usual) one more often."""
    options = [code for code in step.codes if last or not is_ending(code)]
    return options[0] if random.random() < 0.5 else random.choice(options)


def _temporary(random: Random, kind: Kind, taken: set[str]) -> str:
    options = [name for name in TEMPORARIES[kind] if name not in taken] or ["step_result"]
    return random.choice(options)


def write_body(random: Random, steps: tuple[Step, ...], names: Names) -> str:
    """Write the indented body of a function, ending in a newline."""
    style = random.choices(("sequence", "fold", "reassign"), (0.4, 0.4, 0.2))[0]
    alive = {names.parameter, *(name for name in names.constants if name.isidentifier())}
    codes = [_avoid(_choose_code(random, step, step is steps[-1]), alive) for step in steps]
    used = {word for code in codes for word in _locals(code)}
    lines: list[str] = []
    current, depth = names.parameter, 0
    for index, (step, code) in enumerate(zip(steps, codes, strict=True)):
        last = index == len(steps) - 1
        item_kind = step.takes
        item = _item_name(random, item_kind, alive | {current}, code)
        filled = {"K": names.constants[index], "v": item, "w": "other" if item == "w" else "w"}
        if not is_expression(code):
            current = _flush(random, lines, current, steps[index - 1].gives, depth, alive | used)
            target = _temporary(random, step.gives, alive | used | {current, item})
            text = _fill(code, {**filled, "X": current, "OUT": target})
            lines += text.split("\n") + ([f"return {target}"] if last and not is_ending(code) else [])
            current, depth = target, 0
            continue
        if depth and (style != "fold" or depth == 2 or not _takes_inner(code)):
            current = _flush(
                random, lines, current, steps[index - 1].gives, depth, alive | used, style, names.parameter
            )
            depth = 0
        inner = current if depth == 0 or _is_atomic(current) else f"({current})"
        current, depth = _fill(code, {**filled, "X": inner}), depth + 1
        if last:
            lines.append(f"return {current}")
    return "".join(f"    {line}\n" for line in lines)


def _flush(
    random: Random,
    lines: list[str],
    current: str,
    kind: Kind,
    depth: int,
    taken: set[str],
    style: str = "sequence",
    parameter: str = "",
) -> str:
    """Assign a pending expression to a name, and return the name; a name is returned as it is."""
    if depth == 0:
        return current
    target = parameter if style == "reassign" else _temporary(random, kind, taken)
    lines.append(f"{target} = {current}")
    return target
