"""Splits arbitrary test code into single tests, each a statement wrapped in its own context.

A test is a statement that holds an assertion: an `assert`, a call of a `self.assert...` method, of a function named
`assert...`, or of a helper of the test code that asserts; directly in the module, in the body of `check(candidate)`,
of a `test_*` function or of a `test*` method. Everything else prepares and runs in order. `assert True`, which no
candidate can fail, is no test. Calls of the test functions at the top level and `unittest.main()` are left out: the
judge calls each test function once itself.
"""

from __future__ import annotations

import ast
import contextlib
from dataclasses import dataclass, field

WRAPPER = "__touchstone_test__"

_FunctionDef = ast.FunctionDef
_PARSER_ERRORS = (SyntaxError, ValueError, RecursionError, MemoryError)


class BadSuite(Exception):
    """The test code cannot be run as it is: says why."""


@dataclass(frozen=True)
class Piece:
    """A function or method that holds tests, and their numbers."""

    name: str
    tests: range
    takes_candidate: bool = False


@dataclass
class Plan:
    """Test code made ready: the rewritten module, the tests' names in the order they run, and what to call."""

    module: ast.Module
    names: list[str] = field(default_factory=list)
    functions: list[Piece] = field(default_factory=list)
    """Functions to call after the module ran."""
    cases: dict[str, list[Piece]] = field(default_factory=dict)
    """`unittest` classes and their test methods."""
    mentioned: frozenset[str] = frozenset()
    """Every name the test code reads."""
    called: frozenset[str] = frozenset()
    """The names among them that it calls."""
    read_by: list[frozenset[str]] = field(default_factory=list)
    """The names that each test mentions."""


def plan_suite(code: str) -> Plan:
    """Parse and split test code. Raises `BadSuite`."""
    try:
        module = ast.parse(code, "<tests>")
    except _PARSER_ERRORS as error:
        raise BadSuite(f"the test code does not parse: {error}") from error
    plan = Plan(module)
    functions = [node for node in module.body if isinstance(node, _FunctionDef)]
    runnable = {node.name: takes for node in functions if (takes := _takes_candidate(node)) is not None}
    asserting = _asserting_helpers(module, set(runnable))
    module.body = [node for node in module.body if not _is_own_run(node, set(runnable))]
    # Tests are numbered in the order they run: the module, check, the test functions, the unittest classes.
    module.body = _wrap(module.body, plan, asserting, "")
    for node in sorted(functions, key=lambda node: node.name != "check"):
        if node.name in runnable:
            tests = _wrap_body(node, plan, asserting, node.name)
            plan.functions.append(Piece(node.name, tests, runnable[node.name]))
    for case in module.body:
        if isinstance(case, ast.ClassDef) and any(_name(base).endswith("TestCase") for base in case.bases):
            methods = [item for item in case.body if isinstance(item, _FunctionDef) and item.name.startswith("test")]
            plan.cases[case.name] = [
                Piece(method.name, _wrap_body(method, plan, asserting, f"{case.name}.{method.name}"))
                for method in methods
            ]
    if not plan.names:
        raise BadSuite("the test code holds no test: no assertion in the module, check(candidate), test_* or TestCase")
    nodes = list(ast.walk(module))
    plan.mentioned = frozenset(node.id for node in nodes if isinstance(node, ast.Name)) - {WRAPPER}
    plan.called = frozenset(_name(node.func) for node in nodes if isinstance(node, ast.Call)) & plan.mentioned
    ast.fix_missing_locations(module)
    return plan


def stub_names(body: list[ast.stmt]) -> set[str]:
    """Functions without a body of their own (a docstring, `pass`, `...`): the candidate is to write them."""
    return {node.name for node in body if isinstance(node, _FunctionDef) and all(map(_is_filler, node.body))}


def parse_beginning(prompt: str) -> list[ast.stmt]:
    """The statements of a prompt that may end in the middle of a function, or not be Python at all."""
    for text in (prompt, prompt + "\n    pass\n"):
        with contextlib.suppress(*_PARSER_ERRORS):
            return ast.parse(text).body
    lines = prompt.splitlines()
    for end in range(len(lines) - 1, 0, -1):
        if lines[end].startswith(("def ", "class ", "@")):
            with contextlib.suppress(*_PARSER_ERRORS):
                return ast.parse("\n".join(lines[:end])).body
    return []


def wrapped_test(node: ast.stmt) -> tuple[int, ast.stmt] | None:
    """The number of the test that a planned statement holds, and the statement as it was; None where it holds none."""
    match node:
        case ast.With(items=[ast.withitem(ast.Call(ast.Name(id), [ast.Constant(int() as index)]))], body=[test]):
            return (index, test) if id == WRAPPER else None
    return None


def _takes_candidate(node: ast.FunctionDef) -> bool | None:
    """Whether a test function takes the candidate; None when it is not one the judge can call."""
    required = len(node.args.posonlyargs) + len(node.args.args) - len(node.args.defaults)
    if node.name == "check":
        return required == 1 if required <= 1 else None
    if node.name.startswith("test") and required == 0:
        return False
    if node.name.startswith("test_") and required == 1 and node.args.args and node.args.args[0].arg == "candidate":
        return True
    return None


def _asserting_helpers(module: ast.Module, runnable: set[str]) -> set[str]:
    """Functions of the test code that are tests for whoever calls them."""
    functions = [node for node in ast.walk(module) if isinstance(node, _FunctionDef) and node.name not in runnable]
    return {
        node.name
        for node in functions
        if node.name.startswith("test") or any(_is_assertion(inner, set()) for inner in ast.walk(node))
    }


def _is_own_run(node: ast.stmt, runnable: set[str]) -> bool:
    """Whether a top-level statement only starts the tests."""
    if not isinstance(node, ast.Expr) or not isinstance(node.value, ast.Call):
        return False
    function = node.value.func
    if isinstance(function, ast.Attribute):
        return function.attr == "main" and _name(function) == "unittest.main"
    return isinstance(function, ast.Name) and function.id in runnable


def _wrap_body(function: ast.FunctionDef, plan: Plan, asserting: set[str], where: str) -> range:
    first = len(plan.names)
    function.body = _wrap(function.body, plan, asserting, where)
    return range(first, len(plan.names))


def _wrap(body: list[ast.stmt], plan: Plan, asserting: set[str], where: str) -> list[ast.stmt]:
    wrapped: list[ast.stmt] = []
    for node in body:
        if not _is_test(node, asserting):
            wrapped.append(node)
            continue
        plan.names.append(f"{where} line {node.lineno}".strip())
        plan.read_by.append(frozenset(inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name)))
        call = ast.Call(ast.Name(WRAPPER, ast.Load()), [ast.Constant(len(plan.names) - 1)], [])
        wrapped.append(ast.copy_location(ast.With([ast.withitem(call)], [node]), node))
    return wrapped


def _is_test(node: ast.stmt, asserting: set[str]) -> bool:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return False
    return any(_is_assertion(inner, asserting) for inner in ast.walk(node))


def _is_assertion(node: ast.AST, asserting: set[str]) -> bool:
    if isinstance(node, ast.Assert):
        return not (isinstance(node.test, ast.Constant) and bool(node.test.value))
    if not isinstance(node, ast.Call):
        return False
    function = node.func
    if isinstance(function, ast.Attribute):
        return function.attr.startswith("assert") or function.attr in asserting or _name(function) == "self.fail"
    return isinstance(function, ast.Name) and (function.id.startswith("assert") or function.id in asserting)


def _is_filler(node: ast.stmt) -> bool:
    return isinstance(node, ast.Pass) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))


def _name(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return f"{_name(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""
