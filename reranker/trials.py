"""Trials: tests that the model writes, and inputs made up from examples. Pure functions; nothing runs here.

Tests are CodeT's (arXiv 2207.10397, section 2.1): the model is shown the prompt without its examples, a body of `pass`
and the beginning of an assertion. What it writes is only read: a test must come to one call of the entry point with
literal arguments and a literal result. (Of what CodeGen-16B writes about 85 % does; the rest is mostly junk.) Samples
are untrusted, so they are capped before they are parsed; call `read_tests` off the event loop.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator, Sequence

from engine import Chat, Message, Prompt, Text
from reranker.examples import MAX_PROMPT_CHARS, example_lines
from reranker.extract import defines, entry_point_of, fenced_blocks, target_of
from reranker.inputs import inputs_from
from reranker.types import Task, Trials
from sandbox import PARSER_ERRORS, Call, CallSuite, as_calls, is_python, write_literal

__all__ = ["inputs_from", "read_tests", "without_examples", "writing_prompt"]

TESTS_PER_SAMPLE = 5
"""CodeT keeps as many: later ones of a sample repeat themselves or drift."""
MAX_TESTS = 256
"""The rarest beyond these are left out."""
MAX_SAMPLE_CHARS = 20_000
MAX_ASSERT_CHARS = 4_000

_ASSERT = re.compile(r"^[ \t]*assert\b", re.MULTILINE)
_END = re.compile(r"\n(?:class |def |#|if |print)")
_QUOTES = re.compile(r"[rR]?(?:\"\"\"|''')")
_HEADING = re.compile(r"^\W*(?:for )?(?:some )?(?:examples?|e\.?g\.?|for instance)[\W\d]*$", re.IGNORECASE)


def writing_prompt(task: Task) -> Prompt | None:
    """What to ask the model for tests of the task's function; None where that cannot be asked.

    That is: for fill-in-the-middle, other languages than Python, whole programs, without an entry point, and where the
    prompt's text is no function that a body of `pass` completes.
    """
    entry_point = target_of(task)
    if entry_point is None or task.shape == "fim" or task.whole or not is_python(task.language):
        return None
    text = without_examples(task.prefix, entry_point)
    if task.shape == "chat":
        return Chat((Message("user", _request(text, entry_point)),))
    if entry_point_of(text) != entry_point:
        return None
    stub = f"{text.rstrip()}\n{_indent(text)}pass\n"
    try:
        whole = defines(ast.parse(stub), entry_point)
    except PARSER_ERRORS:
        return None
    return Text(f"{stub}\n# check the correctness of {entry_point}\nassert ") if whole else None


def without_examples(prefix: str, entry_point: str) -> str:
    """The prompt's text without the examples of the function: a model that sees them only copies them as tests.

    Doctest prompts with their output, lines that show a call and its result, and the headings this leaves bare.
    Everything in front of the function stays. Text over `MAX_PROMPT_CHARS` is left as it is.
    """
    if len(prefix) > MAX_PROMPT_CHARS:
        return prefix
    found = list(re.finditer(rf"^(?:async[ \t]+)?def[ \t]+{re.escape(entry_point)}\b", prefix, re.MULTILINE))
    start = found[-1].start() if found else 0
    lines = prefix[start:].splitlines(keepends=True)
    gone = example_lines(lines, entry_point)
    kept: list[str] = []
    for number, line in enumerate(lines):
        if number not in gone:
            kept.append(line)
            continue
        while kept and _is_bare(kept[-1]):
            kept.pop()
        quotes = "".join(_QUOTES.findall(line))  # the docstring may begin or end on the line
        if quotes:
            kept.append(f"{line[: len(line) - len(line.lstrip())]}{quotes}\n")
    return prefix[:start] + "".join(kept)


def read_tests(task: Task, samples: Sequence[str], *, max_tests: int = MAX_TESTS) -> Trials | None:
    """The tests in what the model wrote, each once, weighed by how often it came; None where there is none.

    A sample continues `assert `, or brings its own assertions, fenced or not. `f(x) is True` (or False, or None) is
    read as an equality. Tests stand in order of their first coming; beyond `max_tests` the rarest are left out. Never
    raises for what the samples hold.
    """
    entry_point = target_of(task)
    if entry_point is None:
        return None
    calls: dict[str, Call] = {}
    weights: Counter[str] = Counter()
    texts = Counter(text for sample in samples for text in _assertions(sample, entry_point))
    for text, times in texts.items():
        call = _one_call(text, entry_point)
        key = None if call is None else _key(call)
        if call is not None and key is not None:
            calls.setdefault(key, call)
            weights[key] += times
    best = {key for key, _ in weights.most_common(max_tests)}
    kept = [key for key in calls if key in best]
    if not kept:
        return None
    suite = CallSuite(tuple(calls[key] for key in kept), visible=True, observed=True)
    return Trials(suite=suite, weights=tuple(weights[key] for key in kept))


def _is_bare(line: str) -> bool:
    """Blank, or a heading that only announces examples."""
    return not line.strip() or (not _QUOTES.search(line) and _HEADING.match(line) is not None)


def _request(text: str, entry_point: str) -> str:
    return (
        f"{text.strip()}\n\nDo not solve this. Write ten assertions that check the correctness of `{entry_point}`, "
        f"one a line, each of the form `assert {entry_point}(...) == ...` with literal values, in one Python code "
        f"block and nothing else."
    )


def _indent(text: str) -> str:
    """The indentation of the function's body so far; four spaces where there is none."""
    last = next(line for line in reversed(text.splitlines()) if line.strip())
    return last[: len(last) - len(last.lstrip())] or "    "


def _assertions(sample: str, entry_point: str) -> Iterator[str]:
    """The first assertions of a sample that parse and name the entry point, in one spelling each."""
    sample = sample[:MAX_SAMPLE_CHARS]
    blocks = fenced_blocks(sample)
    text = "\n".join(blocks)
    if not blocks:
        text = sample if sample.lstrip().startswith("assert") else f"assert {sample}"
        end = _END.search(text)  # a continuation that begins something else has left its subject
        text = text[: end.start()] if end else text
    marks = list(_ASSERT.finditer(text))
    stops = [mark.start() for mark in marks[1:]] + [len(text)]
    found = 0
    for mark, stop in zip(marks, stops, strict=False):  # without a mark there is still the one stop
        piece = text[mark.end() : min(stop, mark.end() + MAX_ASSERT_CHARS)]
        read = _read_assert(piece, entry_point)
        if read is not None:
            yield read
            found += 1
        if found == TESTS_PER_SAMPLE:
            return


def _read_assert(piece: str, entry_point: str) -> str | None:
    """The assertion behind `assert`, which may run over lines or be followed by something else; None where none is."""
    if entry_point not in piece:
        return None
    body = piece.lstrip()
    for source in (body, body.partition("\n")[0]):
        try:
            node = ast.parse(f"assert {source}").body[0]
            calls = any(isinstance(n, ast.Name) and n.id == entry_point for n in ast.walk(node))
            return ast.unparse(_plain(node)) if calls else None
        except PARSER_ERRORS:
            continue
    return None


def _plain(node: ast.stmt) -> ast.stmt:
    """Without its message, and `is True` and the like as an equality."""
    match node:
        case ast.Assert(test=ast.Compare(left=left, ops=[ast.Is()], comparators=[ast.Constant(value=value) as right])):
            if value is None or isinstance(value, bool):
                return ast.Assert(test=ast.Compare(left=left, ops=[ast.Eq()], comparators=[right]))
        case ast.Assert(test=test):
            return ast.Assert(test=test)
    return node


def _one_call(text: str, entry_point: str) -> Call | None:
    calls = as_calls(text, entry_point)
    return calls[0] if calls and len(calls) == 1 and calls[0].function == entry_point else None


def _key(call: Call) -> str | None:
    try:
        return write_literal((call.args, tuple(sorted(call.kwargs)), call.expected))
    except (TypeError, ValueError):  # not plain data, or nested too deep
        return None
