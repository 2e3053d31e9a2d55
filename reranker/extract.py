"""From what a model sampled to the text that is tested and returned: cut at the end of the function, out of its fence.

Pure functions, and bounded ones: the source is untrusted, so it is capped in size before it is parsed and only a fixed
number of cut points is tried. Call them off the event loop. What is not tested is not cut: callers use this only where
a suite will run.
"""

from __future__ import annotations

import ast
import re
import symtable
from dataclasses import dataclass

from reranker.examples import called_in_examples
from reranker.types import Task
from sandbox import MAX_SOURCE_BYTES, PARSER_ERRORS, Program, is_python

_DEF = re.compile(r"^(?:async[ \t]+)?def[ \t]+([^\W\d]\w*)[ \t]*\(", re.MULTILINE)
_FENCE = re.compile(r"^[ \t]*(`{3,}|~{3,})[^\n]*\n(.*?)(?:^[ \t]*\1[ \t]*$|\Z)", re.MULTILINE | re.DOTALL)
_LATER = re.compile(r"^(?:(?:async[ \t]+)?def|class)[ \t]+([^\W\d]\w*)", re.MULTILINE)
_TOP_LEVEL_LINE = re.compile(r"^(?=\S)", re.MULTILINE)
_MAX_CUTS = 40
_LINE_END = re.compile(r"\n|\Z")
_WORDS = re.compile(r"[^\W_]")
_LEAST_SHARED = 3


@dataclass(frozen=True, slots=True)
class Extracted:
    """The text to return, and the program to run, which holds that text unchanged."""

    text: str
    program: Program


def entry_point_of(prefix: str) -> str | None:
    """Name of the last top-level function that the prompt defines or begins; None when there is none."""
    names = _DEF.findall(prefix)
    return names[-1] if names else None


def target_of(task: Task) -> str | None:
    """The function under test: the one the request names, else the prompt's last, else the one its examples call."""
    return task.entry_point or entry_point_of(task.prefix) or called_in_examples(task.prefix)


def extract(task: Task, raw_text: str) -> Extracted:
    """Find the program in a sampled text.

    A plain completion continues the prompt's last function; a chat reply brings its own program, fenced or not, or
    continues a function header that the last message ends with; a fill-in stands between prefix and suffix.
    A program that runs as a whole, or is in another language than Python, is taken out of its fence and not cut.
    """
    if task.whole or not is_python(task.language):
        return _whole(task, raw_text)
    entry_point = target_of(task)
    if task.shape == "fim":
        return _extracted(task, task.prefix, without_overlap(raw_text, task.suffix), entry_point)
    prefix = task.prefix
    if task.shape == "chat":
        raw_text = _unfence(raw_text, entry_point)
        if not _continues(prefix, raw_text):
            prefix = ""
    return _extracted(task, prefix, _cut(prefix, raw_text, entry_point), entry_point)


def without_overlap(text: str, suffix: str) -> str:
    """A fill-in without what it repeats of the suffix: models often write on into what stands there already.

    Taken off is the longest end of the text that begins the suffix, ends at the end of one of its lines, and holds
    three letters or digits: a single bracket may be both the text's own and the suffix's.
    """
    ends = [match.start() for match in _LINE_END.finditer(suffix, 0, len(text) + 1)][::-1]
    for end in ends:
        if 0 < end <= len(text) and text.endswith(suffix[:end]) and len(_WORDS.findall(suffix[:end])) >= _LEAST_SHARED:
            return text[:-end]
    return text


def whole_lines(text: str) -> str:
    """A fill-in that was broken off, without the line it was broken off in, where that leaves anything of it."""
    kept = text.rpartition("\n")[0]
    return kept if kept.strip() else text


def _whole(task: Task, raw_text: str) -> Extracted:
    """A program that is not cut: out of its fence where it has one, the longest block where there are several."""
    if task.shape == "fim":
        return _extracted(task, task.prefix, raw_text, task.entry_point)
    text = max(fenced_blocks(raw_text), key=len, default=raw_text)
    return _extracted(task, "" if task.shape == "chat" else task.prefix, text, task.entry_point)


def _extracted(task: Task, prefix: str, text: str, entry_point: str | None) -> Extracted:
    program = Program(
        prompt=prefix,
        completion=text,
        suffix=task.suffix if task.shape == "fim" else "",
        entry_point=entry_point,
        language=task.language,
        files=task.files,
    )
    return Extracted(text, program)


def fenced_blocks(text: str) -> list[str]:
    """What stands inside each fence; a fence that is not closed ends with the text."""
    return [match.group(2) for match in _FENCE.finditer(text)]


def _unfence(text: str, entry_point: str | None) -> str:
    """The fenced block that defines the entry point, else the first block, else the whole text."""
    blocks = fenced_blocks(text)
    defining = [block for block in blocks if entry_point in _DEF.findall(block)]
    return (defining or blocks or [text])[0]


def _continues(prefix: str, text: str) -> bool:
    """Whether a chat reply is the body of the function that the message ends with: its first line is indented."""
    first_line = next((line for line in text.splitlines() if line.strip()), "")
    return entry_point_of(prefix) is not None and first_line[:1] in (" ", "\t")


def _cut(prefix: str, text: str, entry_point: str | None) -> str:
    """The shortest piece of `text`, ending before a line at the margin, that makes the entry point whole.

    Helpers that stand behind it belong to it where it reads them. Text that never parses, or that never defines the
    entry point, is kept as it is: it will fail, as it should.
    """
    if len(prefix) + len(text) > MAX_SOURCE_BYTES:
        return text
    ends = [match.start() for match in _TOP_LEVEL_LINE.finditer(text) if text[: match.start()].strip()]
    shortest = None
    for end in [*ends[:_MAX_CUTS], len(text)]:
        piece = text[:end].rstrip()
        if not _defines(prefix + piece, entry_point):
            continue
        later = set(_LATER.findall(text, end))
        if not later or not later & _missing(prefix + piece):
            return piece
        shortest = shortest or piece
    return text if shortest is None else shortest


def _defines(source: str, name: str | None) -> bool:
    """Whether the program parses and binds the name at its top level."""
    try:
        return defines(ast.parse(source), name)
    except PARSER_ERRORS:
        return False


def defines(tree: ast.Module, name: str | None) -> bool:
    """Whether a program binds the name at its top level; any does where there is no name."""
    return name is None or any(_binds(node, name) for node in tree.body)


def _missing(source: str) -> set[str]:
    """Names that the program reads as its top level's, and defines there neither as a function nor as a class.

    Other bindings at the margin do not count, as they are not looked for behind a cut: else cutting twice would.
    """
    try:
        scopes = [symtable.symtable(source, "<candidate>", "exec")]
    except PARSER_ERRORS:  # it parses, and still does not compile: nothing that follows repairs it
        return set()
    read = set()
    while scopes:
        scope = scopes.pop()
        scopes += scope.get_children()
        read |= {symbol.get_name() for symbol in scope.get_symbols() if symbol.is_global() and symbol.is_referenced()}
    return read - set(_LATER.findall(source))


def _binds(node: ast.stmt, name: str) -> bool:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return node.name == name
    if isinstance(node, ast.Assign):
        return any(isinstance(target, ast.Name) and target.id == name for target in node.targets)
    return False
