"""Looks at test code once: where every test is `assert f(literals) == literal`, gives the same tests as calls.

The calls form needs no judge, so it is the faster one, and its verdicts are the judge's own: the same names and
numbers, the same comparison. Anything that could make the two differ (a name the tests or the prompt bind, an
expression that is no literal, a statement that does something) leaves the suite to the judge, and so does whatever the
judge would refuse. One difference remains, where the judge cannot tell: a call that leaves something without a plain
form in its argument is judged by its value here and is `unsupported_value` there, though no such test reads its
arguments again.
"""

from __future__ import annotations

import ast
import builtins
import hashlib
import importlib
import operator
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from sandbox.inside.codec import Unsupported, encode
from sandbox.inside.suite import BadSuite, Plan, parse_beginning, plan_suite, stub_names, wrapped_test
from sandbox.literals import LITERAL_CALLS, read_node
from sandbox.recent import Recent
from sandbox.types import MAX_SOURCE_BYTES, PARSER_ERRORS, Call

_IMPORTABLE = frozenset(
    (  # noqa: SIM905  words read better than a page of quotes
        "abc array bisect calendar cmath collections collections.abc contextlib copy csv dataclasses datetime decimal "
        "enum fractions functools heapq inspect io itertools json math numbers operator os random re statistics string "
        "struct sys textwrap time traceback types typing unittest"
    ).split()
)
"""Modules that every interpreter has, and whose import does nothing else."""

_REACHES_FAR = frozenset({"exec", "eval", "globals", "locals", "vars", "setattr", "__import__", "builtins"})
"""Names by which a prompt could bind others out of sight."""

_READER_FAILS = (ValueError, TypeError, ArithmeticError, RecursionError, MemoryError)
_ARITHMETIC: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
}
_MAX_BITS = 4096
"""Larger numbers are not computed with here."""

_CAPACITY = 256


@dataclass(frozen=True, slots=True)
class LiteralCalls:
    """Test code as calls, one a test, in the order the judge runs and numbers them."""

    names: tuple[str, ...]
    """What the judge calls each test."""
    calls: tuple[Call, ...]
    messages: tuple[str | None, ...]
    """What each assertion says when it fails; None where it says nothing."""


_looked: Recent[bytes, tuple[LiteralCalls | None]] = Recent(_CAPACITY)


def look_at(code: str, entry_point: str | None, prompt: str = "") -> LiteralCalls | None:
    """The calls that test code comes to; None where a judge has to run it, or to refuse it.

    `code` and `prompt` of more than `MAX_SOURCE_BYTES` are not parsed. Remembered by their content: parse it off the
    event loop where it may be large. Never raises for what they hold.
    """
    parts = [text.encode("utf-8", "surrogatepass") for text in (code, prompt, entry_point or "")]
    if max(map(len, parts)) > MAX_SOURCE_BYTES:
        return None
    digest = hashlib.blake2b(b"" if entry_point is None else b"+", digest_size=16)
    for part in parts:
        digest.update(len(part).to_bytes(4, "big") + part)
    return _looked.get_or_make(digest.digest(), lambda: (_look(code, entry_point, prompt),))[0]


def as_calls(code: str, entry_point: str | None = None, prompt: str = "") -> tuple[Call, ...] | None:
    """Test code as the calls that it comes to, where every test compares a call of literals with a literal; else None.

    Parses `code`, which may be untrusted; call it off the event loop where it may be large.
    """
    looked = look_at(code, entry_point, prompt)
    return None if looked is None else looked.calls


class _NotPlain(Exception):
    """The judge has to run this."""


def _look(code: str, entry_point: str | None, prompt: str) -> LiteralCalls | None:
    try:
        plan = plan_suite(code)
        return _Reader(plan, entry_point, prompt).read()
    except (BadSuite, _NotPlain, Unsupported, *PARSER_ERRORS, *_READER_FAILS):
        return None


class _Reader:
    """Reads one planned suite."""

    def __init__(self, plan: Plan, entry_point: str | None, prompt: str) -> None:
        if plan.cases or len(plan.functions) != len({piece.name for piece in plan.functions}):
            raise _NotPlain
        self._plan = plan
        self._entry_point = entry_point
        self._takes = {piece.name: piece.takes_candidate for piece in plan.functions}
        self._bound: set[str] = set(self._takes)
        self._prompts = _bound_by(prompt)
        self._found: dict[int, tuple[Call, str | None]] = {}

    def read(self) -> LiteralCalls:
        """Every test as a call. Raises `_NotPlain` and what reading a literal raises."""
        module = self._plan.module
        assert isinstance(module, ast.Module)  # noqa: S101  it was planned here
        # What the module binds counts wherever it stands: a function is called when all of it has run.
        tests = [pair for node in module.body for pair in self._statement(node)]
        for index, test, parameter in tests:
            self._found[index] = self._call(test, parameter)
        if sorted(self._found) != list(range(len(self._plan.names))):
            raise _NotPlain
        compile(module, "<tests>", "exec", dont_inherit=True)  # refuses more than the parser does
        calls, messages = zip(*(self._found[index] for index in sorted(self._found)), strict=True)
        return LiteralCalls(tuple(self._plan.names), calls, messages)

    def _statement(self, node: ast.stmt) -> Iterator[tuple[int, ast.stmt, str | None]]:
        """The tests of a statement of the module, each with the name of its function's parameter."""
        if (test := wrapped_test(node)) is not None:
            yield (*test, None)
        elif isinstance(node, ast.FunctionDef):
            parameter = self._parameter(node)
            for inner in node.body:
                if (test := wrapped_test(inner)) is not None:
                    yield (*test, parameter)
                elif not _does_nothing(inner):
                    raise _NotPlain
        elif isinstance(node, ast.Import | ast.ImportFrom):
            self._bind(_imported(node))
        elif isinstance(node, ast.Assign):
            if not all(isinstance(target, ast.Name) for target in node.targets):
                raise _NotPlain
            self._literal(node.value)
            self._bind(target.id for target in node.targets if isinstance(target, ast.Name))
        elif not _does_nothing(node):
            raise _NotPlain

    def _bind(self, names: Iterable[str]) -> None:
        for name in names:
            if name in self._takes or name in LITERAL_CALLS or name.startswith("__"):
                raise _NotPlain
            self._bound.add(name)

    def _parameter(self, node: ast.FunctionDef) -> str | None:
        """The parameter that takes the candidate, if there is one; the function must do nothing but hold tests."""
        args = node.args
        plain = not (node.decorator_list or args.defaults or args.kwonlyargs or args.vararg or args.kwarg)
        returns_none = node.returns is None or (isinstance(node.returns, ast.Constant) and node.returns.value is None)
        parameters = [*args.posonlyargs, *args.args]
        if node.name not in self._takes or not plain or not returns_none or getattr(node, "type_params", None):
            raise _NotPlain
        if any(parameter.annotation is not None for parameter in parameters):
            raise _NotPlain
        if not self._takes[node.name]:
            return None
        if self._entry_point is None:
            raise _NotPlain
        return parameters[0].arg

    def _call(self, test: ast.stmt, parameter: str | None) -> tuple[Call, str | None]:
        match test:
            case ast.Assert(test=ast.Compare(left=left, ops=[ast.Eq()], comparators=[right]), msg=said):
                called, other = (left, right) if self._function(left, parameter) else (right, left)
            case _:
                raise _NotPlain
        function = self._function(called, parameter)
        if function is None or not isinstance(called, ast.Call):
            raise _NotPlain
        args = tuple(map(self._literal, called.args))
        named = {}
        for keyword in called.keywords:
            if keyword.arg is None:
                raise _NotPlain
            named[keyword.arg] = self._literal(keyword.value)
        expected = self._literal(other)
        for value in (args, named, expected):
            encode(value)
        message = None if said is None else str(self._literal(said))
        return Call(function=function, args=args, kwargs=tuple(named.items()), expected=expected), message

    def _function(self, node: ast.expr, parameter: str | None) -> str | None:
        """The program's function that an expression calls; None where it calls none of its."""
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
            return None
        name = node.func.id
        if name == parameter:
            return self._entry_point
        if name in self._bound:
            return None
        if self._entry_point is not None and name in (self._entry_point, "candidate"):
            return self._entry_point
        if hasattr(builtins, name) or name.startswith("__") or self._prompt_may_bind(name):
            return None
        return name

    def _literal(self, node: ast.expr) -> object:
        for inner in ast.walk(node):
            # `set`, `float` and the like, which anybody may have bound anew
            if isinstance(inner, ast.Name) and (
                inner.id not in LITERAL_CALLS or inner.id == self._entry_point or self._prompt_may_bind(inner.id)
            ):
                raise _NotPlain
        return read_node(_Arithmetic().visit(node))

    def _prompt_may_bind(self, name: str) -> bool:
        return self._prompts is None or name in self._prompts


class _Arithmetic(ast.NodeTransformer):
    """Does the sums of a literal, such as `3 * 5` or `10 ** 9 + 7` or `-2 + 1j`, and joins strings."""

    def visit_BinOp(self, node: ast.BinOp) -> ast.expr:
        self.generic_visit(node)
        do = _ARITHMETIC.get(type(node.op))
        left, right = read_node(node.left), read_node(node.right)
        joined = type(node.op) is ast.Add and type(left) is type(right) is str
        if do is None or not (joined or (_is_small(left) and _is_small(right))):
            raise _NotPlain
        if type(node.op) is ast.Pow and not (abs(right) <= 64 and _is_small(left, _MAX_BITS // 64)):
            raise _NotPlain
        return ast.copy_location(ast.Constant(do(left, right)), node)


def _is_small(value: object, bits: int = _MAX_BITS) -> bool:
    return type(value) in (float, complex) or (type(value) is int and value.bit_length() <= bits)


def _imported(node: ast.Import | ast.ImportFrom) -> Iterator[str]:
    """The names an import binds. Raises `_NotPlain` for one that might do more, or fail."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            if alias.name not in _IMPORTABLE:
                raise _NotPlain
            yield alias.asname or alias.name.partition(".")[0]
        return
    if node.level or node.module not in _IMPORTABLE:
        raise _NotPlain
    module = importlib.import_module(node.module)
    for alias in node.names:
        if not hasattr(module, alias.name):  # `*` is none of its names
            raise _NotPlain
        yield alias.asname or alias.name


def _does_nothing(node: ast.stmt) -> bool:
    """A docstring, `pass`, a builtin named and not called, or an assertion that cannot fail."""
    match node:
        case ast.Pass() | ast.Expr(value=ast.Constant()):
            return True
        case ast.Assert(test=ast.Constant(value=value)):
            return bool(value)
        case ast.Expr(value=ast.Name(id=name)):
            return hasattr(builtins, name)
    return False


def _bound_by(prompt: str) -> frozenset[str] | None:
    """Every name that a prompt may bind for the tests; None where it may bind any."""
    body = parse_beginning(prompt)
    stubs = stub_names(body)
    bound: set[str] = set()
    for statement in body:
        if isinstance(statement, ast.FunctionDef) and statement.name in stubs:
            continue
        for node in ast.walk(statement):
            match node:
                case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                    bound.add(name)
                case ast.Name(id=name, ctx=ast.Load()) if name in _REACHES_FAR:
                    return None
                case ast.Name(id=name, ctx=ast.Store()) | ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
                    bound.add(name)
                case ast.ExceptHandler(name=str(name)) | ast.MatchMapping(rest=str(name)):
                    bound.add(name)
                case ast.alias(name=name, asname=asname):
                    if name in _REACHES_FAR or name == "*":
                        return None
                    bound.add(asname or name.partition(".")[0])
    return frozenset(bound)
