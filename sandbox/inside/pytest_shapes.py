"""What test code asks of pytest, read from its text: pytest itself is not there where the tests run.

`raises`, `fail`, `skip`, `approx`, `param` and the marks `parametrize`, `skip` and `skipif` are covered; a mark that
only labels is too. Anything else is refused by name, before anything runs.
"""

from __future__ import annotations

import ast

COVERED = frozenset({"raises", "fail", "skip", "approx", "param", "mark", "main"})
REFUSED_MARKS = frozenset(
    {"anyio", "asyncio", "filterwarnings", "flaky", "repeat", "timeout", "trio", "usefixtures", "xfail"}
)
"""Marks that change what a test does, in pytest or in its best-known plug-ins."""

_MAX_CASES = 1000
"""A function with more cases is one test a statement, over all of them."""


class PytestShapes:
    """The names by which a module of test code reaches pytest, and what it does with them."""

    def __init__(self, module: ast.Module) -> None:
        self._module = module
        self._paths: dict[str, str] = {}
        """By local name the path inside pytest, with nothing for pytest itself."""
        for node in ast.walk(module):
            if isinstance(node, ast.Import):
                self._paths |= {each.asname or each.name: "" for each in node.names if each.name == "pytest"}
            elif isinstance(node, ast.ImportFrom) and node.module == "pytest" and not node.level:
                self._paths |= {each.asname or each.name: each.name for each in node.names}

    @property
    def used(self) -> bool:
        """Whether the module imports pytest at all."""
        return bool(self._paths)

    @property
    def assertions(self) -> set[str]:
        """The dotted names whose calls make a statement a test."""
        wanted = ("raises", "fail")
        found = {f"{name}.{each}" for name, path in self._paths.items() if not path for each in wanted}
        return found | {name for name, path in self._paths.items() if path in wanted}

    def refused(self) -> str | None:
        """What the module asks of pytest that is not covered; None when there is nothing."""
        for name, path in self._paths.items():
            if path and path not in COVERED:
                return f"pytest.{path}" if name != "*" else "from pytest import *"
        for node in ast.walk(self._module):
            if isinstance(node, ast.Attribute) and (asked := self._path(node)) is not None:
                first, _, rest = asked.partition(".")
                if first not in COVERED or (first == "mark" and rest in REFUSED_MARKS):
                    return f"pytest.{asked}"
            elif isinstance(node, ast.ClassDef) and self._parametrize(node):
                return "pytest.mark.parametrize on a class"
            elif isinstance(node, ast.Assign) and self._binds_marks(node):
                return "skip or parametrize in pytestmark"
        return None

    def is_mark(self, node: ast.expr) -> bool:
        """Whether a decorator is one of pytest's marks."""
        path = self._path(node.func if isinstance(node, ast.Call) else node)
        return path is not None and path.startswith("mark.")

    def parameters(self, node: ast.FunctionDef) -> set[str]:
        """The parameters that a function's marks give values to. Raises `ValueError` where the marks do not say."""
        found: set[str] = set()
        for mark in self._parametrize(node):
            unknown = {each.arg for each in mark.keywords} - {"argnames", "argvalues", "ids"}
            names, values = _argument(mark, 0, "argnames"), _argument(mark, 1, "argvalues")
            if unknown or names is None or values is None:
                raise ValueError(f"{', '.join(map(str, unknown)) or 'what it is given'} in parametrize")
            listed = ast.literal_eval(names)
            found |= set(split_names(listed))
        return found

    def is_parametrized(self, node: ast.FunctionDef) -> bool:
        """Whether a function's marks say what to call it with."""
        return bool(self._parametrize(node))

    def cases(self, node: ast.FunctionDef) -> int | None:
        """How many cases a function's marks list; None where that is only known when they run."""
        total = 1
        for mark in self._parametrize(node):
            values = self._resolve(_argument(mark, 1, "argvalues"))
            if not isinstance(values, ast.List | ast.Tuple) or any(isinstance(e, ast.Starred) for e in values.elts):
                return None
            total *= len(values.elts)
        return total if total <= _MAX_CASES else None

    def _resolve(self, values: ast.expr | None) -> ast.expr | None:
        """The list behind a name that is bound once and read by marks alone."""
        if not isinstance(values, ast.Name):
            return values
        bound = [
            node.value
            for node in self._module.body
            if isinstance(node, ast.Assign) and [ast.unparse(each) for each in node.targets] == [values.id]
        ]
        marks = [mark for node in ast.walk(self._module) for mark in self._parametrize(node)]
        read_by_marks = sum(
            isinstance(each := _argument(mark, 1, ""), ast.Name) and each.id == values.id for mark in marks
        )
        mentions = sum(isinstance(node, ast.Name) and node.id == values.id for node in ast.walk(self._module))
        return bound[0] if len(bound) == 1 and mentions == 1 + read_by_marks else None

    def _parametrize(self, node: ast.AST) -> list[ast.Call]:
        decorators = node.decorator_list if isinstance(node, ast.FunctionDef | ast.ClassDef) else []
        return [
            each for each in decorators if isinstance(each, ast.Call) and self._path(each.func) == "mark.parametrize"
        ]

    def _binds_marks(self, node: ast.Assign) -> bool:
        names = [each.id for each in node.targets if isinstance(each, ast.Name)]
        paths = [self._path(each) for each in ast.walk(node.value) if isinstance(each, ast.Attribute)]
        return "pytestmark" in names and bool({"mark.skip", "mark.skipif", "mark.parametrize"} & set(paths))

    def _path(self, node: ast.expr) -> str | None:
        """The path inside pytest that an expression names; None for what is not pytest's."""
        if isinstance(node, ast.Name):
            return self._paths.get(node.id)
        if isinstance(node, ast.Attribute):
            path = self._path(node.value)
            return None if path is None else f"{path}.{node.attr}".lstrip(".")
        return None


def split_names(names: str | list[str] | tuple[str, ...]) -> list[str]:
    """The parameters that `parametrize` is told, in one text or several."""
    listed = names.split(",") if isinstance(names, str) else names
    return [name.strip() for name in listed if name.strip()]


def _argument(call: ast.Call, position: int, name: str) -> ast.expr | None:
    if position < len(call.args):
        return call.args[position]
    return next((each.value for each in call.keywords if each.arg == name), None)
