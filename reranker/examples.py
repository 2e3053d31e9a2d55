"""Examples that a prompt shows become a visible suite.

Understood: doctest's `>>> f(x)` with its output on the next lines, and on one line `f(x) == y`, `f(x) ==> y`,
`f(x) => y`, `f(x) -> y`, `f(x) ➞ y`, `f(x) returns y`, also behind a `#`. Arguments and results must be
literals (or `true`, `false`, `null`): they are parsed by `ast.literal_eval`, never evaluated. An example that is
anything else is left out.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

from sandbox import PARSER_ERRORS, Call, CallSuite

MAX_PROMPT_CHARS = 200_000
MAX_EXAMPLES = 64
MAX_NAMES = 8
FLOAT_TOLERANCE = 1e-6
"""Prompts print rounded floats; hidden tests decide the rest."""

_ARROW = re.compile(r"\s*(?:#\s*)?(?:=+>|==|-+>|➞|→|⇒|returns?\b|should return\b)\s*", re.IGNORECASE)
_SHOWN = re.compile(rf"{_ARROW.pattern}|\s*=", re.IGNORECASE)
_DESCRIBED = re.compile(r"^\s*(?:input|output|explanation)\s*:|\b(?:output|result) should be\b", re.IGNORECASE)
_CALLED = re.compile(r"^[ \t]*(?:>>>|assert\b|#|[-*])?[ \t]*([^\W\d]\w*)[ \t]*\(", re.MULTILINE)
_REMARK = re.compile(r"\s+#|\s{2,}|\s\(|[.,;]\s|\s(?:because|since|as|and)\s")
_FOREIGN_WORDS = {"true": True, "false": False, "null": None}
_NO_VALUE = object()


def find_examples(prefix: str, entry_point: str | None) -> CallSuite | None:
    """The examples of `entry_point` that the prompt shows, in order and without repeats; None when there are none."""
    if entry_point is None or len(prefix) > MAX_PROMPT_CHARS:
        return None
    calls: dict[str, Call] = {}
    for source, wanted in _pairs(prefix, entry_point):
        call = _call(source, entry_point)
        expected = _literal(wanted)
        if call is not None and expected is not _NO_VALUE:
            args, kwargs = call
            calls.setdefault(
                f"{args!r}{kwargs!r}",
                Call(function=entry_point, args=args, kwargs=kwargs, expected=expected, tolerance=FLOAT_TOLERANCE),
            )
        if len(calls) == MAX_EXAMPLES:
            break
    return CallSuite(tuple(calls.values()), visible=True) if calls else None


@lru_cache(maxsize=32)
def called_in_examples(prefix: str) -> str | None:
    """The function that the examples call: how a request in plain words says what the answer must be called.

    Kept for the last few prompts, as each candidate of a request asks again.
    """
    if len(prefix) > MAX_PROMPT_CHARS:
        return None
    names = list(dict.fromkeys(_CALLED.findall(prefix)))[:MAX_NAMES]
    return next((name for name in names if find_examples(prefix, name) is not None), None)


def example_lines(lines: Sequence[str], name: str) -> set[int]:
    """Numbers of the lines that show examples of `name`, or look like it.

    Doctest prompts with their output; calls with literal arguments and a result behind an arrow or `=`; and the ways
    in which prompts describe input and output in words.
    """
    start = _calls_of(name)
    found: set[int] = set()
    for number, line in enumerate(lines):
        if line.lstrip().startswith(">>>"):
            found.update(range(number, number + 1 + len(_doctest_output(lines, number + 1))))
        elif call := start.search(line):
            end = None if line.lstrip().startswith(("def ", "async def ")) else _closing(line, call.end() - 1)
            shown = end is not None and _SHOWN.match(line[end:]) and _call(line[call.start() : end], name)
            if shown:
                found.add(number)
        elif _DESCRIBED.search(line):
            found.add(number)
    return found


def _calls_of(name: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![\w.]){re.escape(name)}\s*\(")


def _pairs(prefix: str, name: str) -> Iterator[tuple[str, str]]:
    """(call, expected) source pairs."""
    lines = prefix.splitlines()
    start = _calls_of(name)
    for number, line in enumerate(lines):
        found = start.search(line)
        if not found or line.lstrip().startswith(("def ", "async def ")):
            continue
        end = _closing(line, found.end() - 1)
        if end is None:
            continue
        source, rest = line[found.start() : end], line[end:]
        arrow = _ARROW.match(rest)
        if arrow:
            yield source, rest[arrow.end() :]
        elif not rest.strip() and line.lstrip().startswith(">>>"):
            yield source, "\n".join(_doctest_output(lines, number + 1))


def _doctest_output(lines: Sequence[str], number: int) -> list[str]:
    """The lines after a doctest prompt up to a blank line, the next prompt or the end of the docstring."""
    taken = []
    for line in lines[number:]:
        text = line.strip()
        if not text or text.startswith((">>>", '"""', "'''")):
            break
        for quotes in ('"""', "'''"):
            text = text.removesuffix(quotes)
        taken.append(text)
    return taken


def _closing(line: str, opening: int) -> int | None:
    """Index after the bracket that closes the one at `opening`, strings skipped; None when the line ends first."""
    depth, quote, index = 0, "", opening
    while index < len(line):
        char = line[index]
        if quote:
            if char == "\\":
                index += 1
            elif char == quote:
                quote = ""
        elif char in "\"'":
            quote = char
        elif char in "([{":
            depth += 1
        elif char in ")]}":
            depth -= 1
            if depth == 0:
                return index + 1
        index += 1
    return None


def _call(source: str, name: str) -> tuple[tuple[Any, ...], tuple[tuple[str, Any], ...]] | None:
    """Literal arguments of a call; None when it is no plain call with literal arguments."""
    try:
        node = ast.parse(source.strip(), mode="eval").body
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name):
            return None
        args = tuple(ast.literal_eval(arg) for arg in node.args)
        kwargs = tuple((kw.arg, ast.literal_eval(kw.value)) for kw in node.keywords if kw.arg)
    except (*PARSER_ERRORS, TypeError):
        return None
    return (args, kwargs) if len(kwargs) == len(node.keywords) else None


def _literal(text: str) -> Any:
    """The literal that `text` is, or begins with before a remark; `_NO_VALUE` when there is none."""
    text = text.strip()
    if not text:
        return _NO_VALUE
    for piece in (text, text.rstrip(".,;"), _REMARK.split(text)[0]):
        if piece in _FOREIGN_WORDS:
            return _FOREIGN_WORDS[piece]
        try:
            return ast.literal_eval(piece)
        except (*PARSER_ERRORS, TypeError):
            continue
    return _NO_VALUE
