"""Splits arbitrary test code into single tests, each a statement wrapped in its own context.

A test is a statement that holds an assertion: an `assert`, a call of a `self.assert...` method, of a function named
`assert...`, of `pytest.raises` or `pytest.fail`, or of a helper of the test code that asserts; directly in the module,
in the body of `check(candidate)`, of a `test_*` function or of a `test*` method. Everything else prepares and runs in
order. `assert True`, which no candidate can fail, is no test. Calls of the test functions at the top level,
`unittest.main()` and `pytest.main()` are left out: the judge calls each test function itself, once for each case that
pytest's `parametrize` lists; where their number is only known when they run, a statement is one test over all of them.
"""

from __future__ import annotations

import ast
import contextlib
import copy
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from types import CodeType

from sandbox.inside.pytest_shapes import PytestShapes

WRAPPER = "__touchstone_test__"

_FunctionDef = ast.FunctionDef
_MAX_COPIED = 5000
"""Statements that cases are copied into; with more, all cases of a function are one."""

_MAX_CUTS = 20
"""Places from its end at which a prompt that does not parse is cut off; the larger, the fewer."""
_MAX_PARSED_AGAIN = 400_000

_PARSER_ERRORS = (SyntaxError, ValueError, RecursionError, MemoryError)


class BadSuite(Exception):
    """The test code cannot be run as it is: says why."""


@dataclass(frozen=True)
class Piece:
    """A function or method that holds tests, and their numbers."""

    name: str
    tests: range
    takes_candidate: bool = False
    origin: str = ""
    """The function whose `parametrize` marks say what to call this one with; nothing where no mark does."""
    case: tuple[int, int] | None = None
    """Which of how many cases this is; None: all of them."""


@dataclass
class Plan:
    """Test code made ready: the rewritten module, the tests' names in the order they run, and what to call."""

    module: ast.Module | CodeType
    """Compiled, in a plan that came packed."""
    names: list[str] = field(default_factory=list)
    functions: list[Piece] = field(default_factory=list)
    """Functions to call after the module ran."""
    cases: dict[str, list[Piece]] = field(default_factory=dict)
    """Test classes, of `unittest` and without, and their test methods."""
    mentioned: frozenset[str] = frozenset()
    """Every name the test code reads."""
    called: frozenset[str] = frozenset()
    """The names among them that it calls."""
    judging: dict[str, frozenset[str]] = field(default_factory=dict)
    """Names whose call is all that an assertion asks, with the names that are called in what they are given."""
    read_by: list[frozenset[str]] = field(default_factory=list)
    """The names that each test mentions."""
    skip: frozenset[int] = frozenset()
    """Tests that have a number and a name, and no statement: they are not run."""
    uses_pytest: bool = False

    def compiled(self) -> CodeType:
        """The module's code, whose assertions count however this interpreter was started. Raises `SyntaxError`."""
        if isinstance(self.module, CodeType):
            return self.module
        return compile(self.module, "<tests>", "exec", dont_inherit=True, optimize=0)


def plan_suite(code: str, skip: Iterable[int] = ()) -> Plan:
    """Parse and split test code; the tests whose numbers are in `skip` are left out of it. Raises `BadSuite`."""
    try:
        module = ast.parse(code, "<tests>")
    except _PARSER_ERRORS as error:
        raise BadSuite(f"the test code does not parse: {error}") from error
    helpers = _helpers_of_main(module)
    module.body = [inner for node in module.body for inner in _as_main(node, helpers)]
    return _Planner(module, frozenset(skip)).plan_all()


class _Planner:
    """Turns one module of test code into its plan."""

    def __init__(self, module: ast.Module, skip: frozenset[int]) -> None:
        self._module = module
        self._shapes = PytestShapes(module)
        self._plan = Plan(module, skip=skip, uses_pytest=self._shapes.used)
        self._read = {_name(node).rpartition(".")[2] for node in _outside_bases(module)}
        """What the test code reads, by the last part of its name."""
        self._left_out: list[ast.stmt] = []

    def plan_all(self) -> Plan:
        """The plan. Raises `BadSuite`."""
        self._refuse()
        module, plan = self._module, self._plan
        functions = [node for node in module.body if isinstance(node, _FunctionDef)]
        runnable = {node.name: taken for node in functions if (taken := self._takes_candidate(node)) is not None}
        classes = self._test_classes()
        self._asserting = _asserting_helpers(module, set(runnable), self._shapes.assertions)
        self._refuse_aliases({case.name for case, _ in classes})
        module.body = [node for node in module.body if not _is_own_run(node, set(runnable))]
        # Tests are numbered in the order they run: the module, check, the test functions, the classes.
        module.body = self._wrap(module.body, "")
        for node in sorted(functions, key=lambda node: node.name != "check"):
            if node.name in runnable:
                plan.functions += self._pieces(node, module.body, "", takes=runnable[node.name])
        for case, methods in classes:
            plan.cases[case.name] = [
                piece
                for method in methods
                if (takes := self._method_takes(method)) is not None
                for piece in self._pieces(method, case.body, f"{case.name}.", takes=takes)
            ]
        if not plan.names:
            raise BadSuite(
                "the test code holds no test: no assertion in the module, check(candidate), test_*, Test* or TestCase"
            )
        nodes = [node for root in (module, *self._left_out) for node in ast.walk(root)]
        plan.mentioned = frozenset(node.id for node in nodes if isinstance(node, ast.Name)) - {WRAPPER}
        plan.called = frozenset(_name(node.func) for node in nodes if isinstance(node, ast.Call)) & plan.mentioned
        plan.judging = _judging(nodes)
        ast.fix_missing_locations(module)
        return plan

    def _refuse(self) -> None:
        if (asked := self._shapes.refused()) is not None:
            raise BadSuite(f"the test code wants {asked}, which is not covered")
        for node in ast.walk(self._module):
            if isinstance(node, ast.AsyncFunctionDef) and node.name.startswith("test"):
                raise BadSuite(f"{node.name} is asynchronous; such tests are not covered")
            if isinstance(node, ast.Name | ast.Attribute) and _name(node).endswith("expectedFailure"):
                raise BadSuite("the test code wants expectedFailure, which is not covered")

    def _takes_candidate(self, node: ast.FunctionDef) -> bool | None:
        """Whether a test function takes the candidate; None when it is not one the judge can call."""
        required = _required(node.args)
        if node.name == "check":
            return len(required) == 1 if len(required) <= 1 else None
        return self._takes(node, required) if node.name.startswith("test") else None

    def _method_takes(self, node: ast.FunctionDef) -> bool | None:
        alone = any(_name(each) == "staticmethod" for each in node.decorator_list)
        return self._takes(node, _required(node.args)[0 if alone else 1 :])

    def _takes(self, node: ast.FunctionDef, required: Sequence[str]) -> bool | None:
        """The same by the names of the parameters it requires. Raises `BadSuite` where only pytest could give them."""
        try:
            given = self._shapes.parameters(node)
        except ValueError as error:
            raise BadSuite(f"{node.name} wants {error}, which is not covered") from error
        wanted = [name for name in required if name not in given]
        if not wanted:
            return False
        if wanted == ["candidate"] == list(required[:1]) and node.name.startswith("test_"):
            return True
        if given or node.name not in self._read:
            raise BadSuite(f"{node.name} wants {', '.join(wanted)}; pytest's fixtures are not covered")
        return None  # the test code calls it itself

    def _test_classes(self) -> list[tuple[ast.ClassDef, list[ast.FunctionDef]]]:
        """The classes that hold tests, with their test methods."""
        kinds: dict[str, str] = {}
        holding = _classes_with_tests(self._module)
        found: list[tuple[ast.ClassDef, list[ast.FunctionDef]]] = []
        for node in self._module.body:
            if not isinstance(node, ast.ClassDef):
                continue
            bases = [_name(base).rpartition(".")[2] for base in node.bases]
            kind = (
                "unittest" if any(base.endswith("TestCase") or kinds.get(base) == "unittest" for base in bases) else ""
            )
            if not kind and node.name.startswith("Test") and node.name not in self._read:
                kind = "plain"
            methods = [item for item in node.body if isinstance(item, _FunctionDef)]
            tests = [method for method in methods if method.name.startswith("test")]
            heirs_of = [base for base in bases if base in holding]
            if heirs_of and (kind or node.name.startswith("Test")):
                raise BadSuite(f"{node.name} inherits the tests of {heirs_of[0]}, which is not covered")
            if kind == "unittest" and any(map(self._shapes.is_parametrized, tests)):
                raise BadSuite(f"{node.name} is a TestCase with parametrize, which is not covered")
            kinds[node.name] = kind
            if kind and tests:
                found.append((node, tests))
        return found

    def _refuse_aliases(self, found: set[str]) -> None:
        """Names that a runner would take for tests, given to what no runner would find otherwise."""
        holding = _classes_with_tests(self._module) - found
        bodies = [self._module.body, *(node.body for node in self._module.body if isinstance(node, ast.ClassDef))]
        for body in bodies:
            for node in body:
                if not isinstance(node, ast.Assign | ast.AnnAssign) or node.value is None:
                    continue
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                value = _name(node.value).rpartition(".")[2]
                asserts = value in self._asserting and not value.startswith("test")
                if isinstance(node.value, ast.Lambda):
                    asserts = any(_is_assertion(inner, self._asserting) for inner in ast.walk(node.value))
                for name in map(_name, targets):
                    if (name.startswith("test") and asserts) or (name.startswith("Test") and value in holding):
                        raise BadSuite(f"{name} is another name of a test, which is not covered")

    def _pieces(self, node: ast.FunctionDef, holder: list[ast.stmt], where: str, *, takes: bool) -> list[Piece]:
        """The pieces of a function: one, or one for each of its cases, which are copies beside it."""
        cases = self._shapes.cases(node) if self._shapes.is_parametrized(node) else None
        if cases is None or cases * len(node.body) > _MAX_COPIED:
            origin = node.name if self._shapes.is_parametrized(node) else ""
            return [Piece(node.name, self._wrap_body(node, where + node.name), takes, origin)]
        pieces = []
        for case in range(cases):
            copied = copy.deepcopy(node)
            copied.name = f"{node.name}[{case}]"
            copied.decorator_list = [each for each in copied.decorator_list if not self._shapes.is_mark(each)]
            tests = self._wrap_body(copied, where + copied.name)
            pieces.append(Piece(copied.name, tests, takes, node.name, (case, cases)))
            holder.append(copied)
        return pieces

    def _wrap_body(self, function: ast.FunctionDef, where: str) -> range:
        first = len(self._plan.names)
        function.body = self._wrap(function.body, where)
        return range(first, len(self._plan.names))

    def _wrap(self, body: list[ast.stmt], where: str) -> list[ast.stmt]:
        plan = self._plan
        wrapped: list[ast.stmt] = []
        for node in body:
            if not _is_test(node, self._asserting):
                wrapped.append(node)
                continue
            index = len(plan.names)
            plan.names.append(f"{where} line {node.lineno}".strip())
            plan.read_by.append(frozenset(inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name)))
            if index in plan.skip:
                self._left_out.append(node)
                wrapped.append(ast.copy_location(ast.Pass(), node))
                continue
            call = ast.Call(ast.Name(WRAPPER, ast.Load()), [ast.Constant(index)], [])
            wrapped.append(ast.copy_location(ast.With([ast.withitem(call)], [node]), node))
        return wrapped


def stub_names(body: list[ast.stmt]) -> set[str]:
    """Functions without a body of their own (a docstring, `pass`, `...`): the candidate is to write them."""
    return {node.name for node in body if isinstance(node, _FunctionDef) and all(map(_is_filler, node.body))}


def parse_beginning(prompt: str) -> list[ast.stmt]:
    """The statements of a prompt that may end in the middle of a function, or not be Python at all."""
    for text in (prompt, prompt + "\n    pass\n"):
        with contextlib.suppress(*_PARSER_ERRORS):
            return ast.parse(text).body
    lines = prompt.splitlines()
    cuts = [end for end in range(1, len(lines)) if lines[end].startswith(("def ", "class ", "@"))]
    tries = min(_MAX_CUTS, 1 + _MAX_PARSED_AGAIN // len(prompt))  # each is parsed anew
    for end in cuts[: -tries - 1 : -1]:
        with contextlib.suppress(*_PARSER_ERRORS):
            return ast.parse("\n".join(lines[:end])).body
    return []


def wrapped_test(node: ast.stmt) -> tuple[int, ast.stmt] | None:
    """The number of the test that a planned statement holds, and the statement as it was; None where it holds none."""
    match node:
        case ast.With(items=[ast.withitem(ast.Call(ast.Name(id), [ast.Constant(int() as index)]))], body=[test]):
            return (index, test) if id == WRAPPER else None
    return None


def _as_main(node: ast.stmt, helpers: set[str]) -> list[ast.stmt]:
    """What stands for `if __name__ == "__main__":`: its body, if that asserts, and nothing that only runs tests."""
    match node:
        case ast.If(
            test=ast.Compare(left=ast.Name(id="__name__"), ops=[ast.Eq()], comparators=[ast.Constant(value="__main__")])
        ):
            asserts = any(isinstance(inner, ast.Assert) for inner in node.body)
            return [_without_exit(inner) for inner in node.body] if asserts or _calls(node, helpers) else []
    return [node]


def _without_exit(node: ast.stmt) -> ast.stmt:
    """`sys.exit(run())` as `run()`."""
    match node:
        case ast.Expr(value=ast.Call(func=function, args=[ast.Call() as inner], keywords=[])):
            if _name(function) in ("sys.exit", "exit", "quit", "SystemExit"):
                return ast.copy_location(ast.Expr(inner), node)
        case ast.Raise(exc=ast.Call(func=ast.Name(id="SystemExit"), args=[ast.Call() as inner])):
            return ast.copy_location(ast.Expr(inner), node)
    return node


def _helpers_of_main(module: ast.Module) -> set[str]:
    """The functions of the module that assert, themselves or by others, and that no runner would find."""
    found: dict[str, ast.FunctionDef] = {}
    for node in module.body:
        if isinstance(node, _FunctionDef):
            own = node.name == "check" or (node.name.startswith("test") and _required(node.args) in ([], ["candidate"]))
            if not own and not any("parametrize" in _name(_called(each)) for each in node.decorator_list):
                found[node.name] = node
    helpers: set[str] = set()
    while True:
        more = {
            name
            for name, node in found.items()
            if name not in helpers
            and (any(_is_assertion(inner, set()) for inner in ast.walk(node)) or _calls(node, helpers))
        }
        if not more:
            return helpers
        helpers |= more


def _calls(node: ast.AST, names: set[str]) -> bool:
    calls = [inner.func for inner in ast.walk(node) if isinstance(inner, ast.Call)]
    return any(isinstance(function, ast.Name) and function.id in names for function in calls)


def _called(node: ast.expr) -> ast.expr:
    return node.func if isinstance(node, ast.Call) else node


def _required(args: ast.arguments) -> list[str]:
    """The parameters that have no default."""
    positional = [*args.posonlyargs, *args.args]
    named = [each for each, default in zip(args.kwonlyargs, args.kw_defaults, strict=True) if default is None]
    return [each.arg for each in [*positional[: len(positional) - len(args.defaults)], *named]]


def _judging(nodes: list[ast.AST]) -> dict[str, frozenset[str]]:
    """`isclose` with `f`, of `assert isclose(f(1), 2.0)`; what the tests define themselves is not among them."""
    own = {node.name for node in nodes if isinstance(node, _FunctionDef | ast.ClassDef)}
    own |= {node.asname or node.name for node in nodes if isinstance(node, ast.alias)}
    found: dict[str, frozenset[str]] = {}
    for node in nodes:
        for call in _asked(node):
            if isinstance(call.func, ast.Name) and call.func.id not in own:
                given = [*call.args, *(each.value for each in call.keywords)]
                inside = [inner.func for each in given for inner in ast.walk(each) if isinstance(inner, ast.Call)]
                names = {function.id for function in inside if isinstance(function, ast.Name)} - own
                if names:
                    found[call.func.id] = found.get(call.func.id, frozenset()) | names
    return found


def _asked(node: ast.AST) -> Iterator[ast.Call]:
    """The calls of whose result an assertion asks only whether it is true."""
    match node:
        case ast.Assert(test=asked):
            waiting = [asked]
        case ast.Call(func=ast.Attribute(attr="assertTrue" | "assertFalse"), args=[asked, *_]):
            waiting = [asked]
        case _:
            return
    while waiting:
        match waiting.pop():
            case ast.BoolOp(values=values):
                waiting += values
            case ast.UnaryOp(op=ast.Not(), operand=asked):
                waiting.append(asked)
            case ast.Compare(left=asked, comparators=[ast.Constant(value=bool())]):
                waiting.append(asked)
            case ast.Call() as call:
                yield call


def _classes_with_tests(module: ast.Module) -> set[str]:
    """The classes that define test methods, or inherit them from another of the module."""
    holding: set[str] = set()
    classes = [node for node in ast.walk(module) if isinstance(node, ast.ClassDef)]
    for node in classes:
        if any(isinstance(item, _FunctionDef) and item.name.startswith("test") for item in node.body):
            holding.add(node.name)
    while more := {
        node.name
        for node in classes
        if node.name not in holding and any(_name(base).rpartition(".")[2] in holding for base in node.bases)
    }:
        holding |= more
    return holding


def _asserting_helpers(module: ast.Module, runnable: set[str], asserting: set[str]) -> set[str]:
    """The names given, and functions of the test code that are tests for whoever calls them."""
    functions = [node for node in ast.walk(module) if isinstance(node, _FunctionDef) and node.name not in runnable]
    return asserting | {
        node.name
        for node in functions
        if node.name.startswith("test") or any(_is_assertion(inner, asserting) for inner in ast.walk(node))
    }


def _is_own_run(node: ast.stmt, runnable: set[str]) -> bool:
    """Whether a top-level statement only starts the tests."""
    if not isinstance(node, ast.Expr) or not isinstance(node.value, ast.Call):
        return False
    function = node.value.func
    if isinstance(function, ast.Attribute):
        return _name(function) in ("unittest.main", "pytest.main")
    return isinstance(function, ast.Name) and function.id in runnable


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
        dotted = _name(function)
        return function.attr.startswith("assert") or bool({function.attr, dotted} & asserting) or dotted == "self.fail"
    return isinstance(function, ast.Name) and (function.id.startswith("assert") or function.id in asserting)


def _is_filler(node: ast.stmt) -> bool:
    return isinstance(node, ast.Pass) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))


def _name(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return f"{_name(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def _outside_bases(module: ast.Module) -> Iterator[ast.expr]:
    """Every name and attribute, but for those that classes only inherit from."""
    bases = {base for node in ast.walk(module) if isinstance(node, ast.ClassDef) for base in node.bases}
    for node in ast.walk(module):
        if isinstance(node, ast.Name | ast.Attribute) and node not in bases:
            yield node
