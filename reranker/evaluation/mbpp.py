"""MBPP's own layouts, read so that the reference solution, as a program, is right.

The original rows (`text` or `prompt`, `code`, `test_list`, imports) hold whole programs. Their prompt becomes a
docstring of the text and the first assertion, without which the function would have no name (Austin et al. 2021 show
all three); that assertion is the visible suite, all of them are the hidden one. `challenge_test_list` and `source_file`
are known and left out: published figures use neither.

The CodeT authors' rows (`task_id` `MbppEval/...`) have HumanEval's fields, and four faults that are mended here without
touching the prompt, so that figures stay comparable:

- the stub's docstring is indented by four spaces and the solution by two, eight or tabs: re-indented where the two do
  not parse together;
- the entry point is the stub's function, a helper of the one the tests call in eleven rows: the called one;
- the tests stand in a `check(candidate)` that ignores its argument, and hides a solution named `check`: unwrapped;
- the tests lost their `import math`: put back.
"""

from __future__ import annotations

import ast
import io
import sys
import textwrap
import tokenize
from dataclasses import replace

from reranker.evaluation.problem import Problem
from sandbox import PARSER_ERRORS

_PREPARED = "MbppEval/"
_CHECK = "def check(candidate):\n"
_HEADER = "def _():\n"
_INDENT = "    "


def is_prepared(problem: Problem) -> bool:
    """Whether the problem comes from the CodeT authors' preparation of MBPP."""
    return problem.task_id.startswith(_PREPARED)


def mend(problem: Problem) -> Problem:
    """A row of that preparation with its faults mended; one without faults, and a mended one, stay as they are."""
    solution, test = problem.canonical_solution, problem.test
    if solution is None or test is None:
        return problem
    if not _parse(problem.prompt + solution):
        solution = _indent_anew(solution)
    if test.startswith(_CHECK):
        test = textwrap.dedent(test.removeprefix(_CHECK))
    program = _parse(problem.prompt + solution)
    test = "".join(f"import {name}\n" for name in _missing_modules(program, test)) + test
    entry_point = (problem.entry_point or "").strip() or None
    if (called := _called(program, test)) and entry_point not in called:
        entry_point = called[0]
    return replace(problem, canonical_solution=solution, test=test, entry_point=entry_point)


def original(number: int, text: str, code: str, assertions: list[str], imports: list[str], setup: str) -> Problem:
    """A row of the original layout. `imports` and `setup` go before the assertions, of which there is at least one."""
    preparation = "".join(f"{part.rstrip()}\n" for part in [*imports, setup] if part.strip())
    shown = f"{text.strip()}\n{assertions[0]}".replace("\\", "\\\\").replace('"""', '\\"\\"\\"')
    called = _called(_parse(code), "\n".join(assertions))
    return Problem(
        task_id=f"MBPP/{number}",
        prompt=f'"""\n{shown}\n"""\n',
        entry_point=called[0] if called else None,
        canonical_solution=code,
        visible_test=f"{preparation}{assertions[0]}\n",
        test=preparation + "".join(f"{line}\n" for line in assertions),
    )


def _called(program: list[ast.stmt], test: str) -> list[str]:
    """The functions and classes of the program that the test calls, in the order it first does."""
    defined = {node.name for node in program if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    calls = [node for statement in _parse(test) for node in ast.walk(statement) if isinstance(node, ast.Call)]
    names = dict.fromkeys(node.func.id for node in calls if isinstance(node.func, ast.Name))
    return [name for name in names if name in defined]


def _missing_modules(program: list[ast.stmt], test: str) -> list[str]:
    """Modules of the standard library that the test reads and nothing imports."""
    tests = _parse(test)
    imports = [node for node in [*program, *tests] if isinstance(node, ast.Import | ast.ImportFrom)]
    bound = {alias.asname or alias.name for node in imports for alias in node.names}
    nodes = [node for statement in tests for node in ast.walk(statement)]
    read = {node.value.id for node in nodes if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)}
    return sorted((read & sys.stdlib_module_names) - bound)


def _indent_anew(body: str) -> str:
    """A function's body, and what follows it, with four spaces a level; strings and continued lines stay."""
    lines = io.StringIO(_HEADER + body).readlines()  # split as the tokenizer does
    depth, at_start = 0, True
    try:
        for token in tokenize.generate_tokens(iter(lines[:]).__next__):
            depth += (token.type == tokenize.INDENT) - (token.type == tokenize.DEDENT)
            if token.type in (tokenize.INDENT, tokenize.DEDENT, tokenize.NL, tokenize.COMMENT):
                continue
            if at_start and token.type != tokenize.ENDMARKER:
                row = token.start[0] - 1
                lines[row] = _INDENT * depth + lines[row].lstrip(" \t")
            at_start = token.type == tokenize.NEWLINE
    except (tokenize.TokenError, IndentationError):
        return body
    return "".join(lines).removeprefix(_HEADER)


def _parse(source: str) -> list[ast.stmt]:
    try:
        return ast.parse(source).body
    except PARSER_ERRORS:
        return []
