"""A small module in pytest's place, for tests that run where pytest is not installed: see `pytest_shapes`."""

from __future__ import annotations

import math
import re
import unittest
from collections.abc import Callable, Collection, Mapping, Sized
from decimal import Decimal
from types import ModuleType, TracebackType
from typing import Any, NoReturn

from sandbox.inside.pytest_shapes import COVERED, REFUSED_MARKS, split_names
from sandbox.inside.suite import BadSuite

CASES = "touchstone_cases"
"""The attribute of a function that lists what to call it with."""


class Failed(BaseException):
    """A test said that it failed; like pytest's own, no `except Exception` takes it."""


def _not_covered(name: str) -> NoReturn:
    raise BadSuite(f"{name} is not covered: only {', '.join(sorted(COVERED))} of pytest are")


def fail(reason: str = "", pytrace: bool = True) -> NoReturn:
    """Fail the test."""
    raise Failed(reason)


def skip(reason: str = "", *, allow_module_level: bool = False) -> NoReturn:
    """Leave the rest of the test out."""
    raise unittest.SkipTest(reason)


class ExceptionInfo:
    """What `raises` gives: the exception, once it was raised."""

    value: BaseException

    @property
    def type(self) -> type[BaseException]:
        return type(self.value)

    @property
    def typename(self) -> str:
        return type(self.value).__name__

    @property
    def tb(self) -> TracebackType | None:
        return self.value.__traceback__

    def match(self, pattern: str) -> bool:
        """Whether the pattern is found in the exception's text. Raises `AssertionError` when it is not."""
        if not re.search(pattern, str(self.value)):
            raise AssertionError(f"{pattern!r} is not found in {str(self.value)!r:.100}")
        return True

    def __getattr__(self, name: str) -> Any:
        if name == "value" or name.startswith("__"):
            raise AttributeError(name)
        _not_covered(f"excinfo.{name}")


class Raises:
    """The context of a statement that has to raise."""

    def __init__(self, expected: Any, match: Any = None, check: Callable[[BaseException], bool] | None = None) -> None:
        kinds = expected if isinstance(expected, tuple) else (expected,)
        if not kinds or not all(isinstance(kind, type) and issubclass(kind, BaseException) for kind in kinds):
            raise TypeError(f"raises wants exception types, not {expected!r:.80}")
        self._kinds, self._match, self._check = kinds, match, check
        self._info = ExceptionInfo()

    def __enter__(self) -> ExceptionInfo:
        return self._info

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        names = " or ".join(each.__name__ for each in self._kinds)
        if error is None:
            raise Failed(f"did not raise {names}")
        if not isinstance(error, self._kinds):
            return False
        self._info.value = error
        if self._match is not None:
            self._info.match(self._match)
        if self._check is not None and not self._check(error):
            raise AssertionError(f"the {names} raised is not the one looked for")
        return True


def raises(expected: Any, *args: Any, **kwargs: Any) -> Any:
    """As a context: something inside raises; with a function and its arguments: calling it does."""
    if not args:
        return Raises(expected, **kwargs)
    with Raises(expected) as info:
        args[0](*args[1:], **kwargs)
    return info


class approx:  # noqa: N801  the name that tests use
    """Equals a number within a tolerance, or a list, tuple or dictionary of numbers item by item."""

    __hash__ = None  # type: ignore[assignment]

    def __init__(self, expected: Any, rel: Any = None, abs: Any = None, nan_ok: bool = False) -> None:  # noqa: A002
        self._expected, self._rel, self._abs, self._nan_ok = expected, rel, abs, nan_ok
        self._items: Any = None
        if isinstance(expected, Mapping):
            self._items = {key: self._one(item) for key, item in expected.items()}
        elif isinstance(expected, Sized) and hasattr(expected, "__getitem__") and not isinstance(expected, str | bytes):
            self._items = [self._one(item) for item in expected]  # type: ignore[attr-defined]
        elif isinstance(expected, Collection) and not isinstance(expected, str | bytes):
            raise TypeError(f"approx wants an order, which {type(expected).__name__} has not")

    def _one(self, item: Any) -> approx:
        if isinstance(item, Collection) and not isinstance(item, str | bytes):
            raise TypeError("approx does not look inside what is nested")
        return approx(item, self._rel, self._abs, self._nan_ok)

    def __eq__(self, actual: object) -> bool:
        if isinstance(self._items, dict):
            if not isinstance(actual, Mapping) or actual.keys() != self._items.keys():
                return False
            return all(actual[key] == item for key, item in self._items.items())
        if self._items is not None:
            if not isinstance(actual, Sized) or not hasattr(actual, "__getitem__") or len(actual) != len(self._items):
                return False
            return all(one == item for one, item in zip(actual, self._items, strict=True))  # type: ignore[call-overload]
        return self._close(actual)

    def _close(self, actual: Any) -> bool:
        expected = self._expected
        if isinstance(expected, bool) and not isinstance(actual, bool):
            return False
        if actual == expected:
            return True
        if not (_is_number(actual) and _is_number(expected)):
            return False
        try:
            if _is_nan(expected):
                return bool(self._nan_ok and _is_nan(actual))
            if _is_infinite(expected) or _is_infinite(actual):
                return False
            return bool(abs(expected - actual) <= self._tolerance())
        except (OverflowError, TypeError):  # beyond the range of floats, or of two kinds that do not mix
            return False

    def _tolerance(self) -> Any:
        kind: Any = Decimal if isinstance(self._expected, Decimal) else float
        absolute = kind("1e-12" if self._abs is None else str(self._abs))
        relative = kind("1e-6" if self._rel is None else str(self._rel))
        if not (absolute >= 0 and relative >= 0):  # nan is neither
            raise ValueError("a tolerance cannot be negative")
        if self._rel is None and self._abs is not None:
            return absolute
        return max(relative * abs(self._expected), absolute)

    def __bool__(self) -> bool:
        raise AssertionError("approx is something to compare with, not a truth")

    def __repr__(self) -> str:
        return f"approx({self._expected!r})"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | complex | Decimal)


def _is_nan(value: Any) -> bool:
    return bool(value != value)


def _is_infinite(value: Any) -> bool:
    return bool(abs(value) == math.inf)


class Mark:
    """One mark, and what it is given. Applied to a function or a class, or kept in a `param`."""

    def __init__(self, name: str, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None) -> None:
        self.name, self.args, self.kwargs = name, args, kwargs or {}

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if len(args) == 1 and not kwargs and (isinstance(args[0], type) or hasattr(args[0], "__code__")):
            return self.apply(args[0])
        return Mark(self.name, (*self.args, *args), {**self.kwargs, **kwargs})

    def apply(self, target: Any) -> Any:
        if self.name == "parametrize":
            known = getattr(target, CASES, [Case()])
            setattr(target, CASES, [old.merged(new) for old in known for new in _cases(*self.args, **self.kwargs)])
        elif (why := self.skips()) is not None:
            target.__unittest_skip__, target.__unittest_skip_why__ = True, why
        return target

    def skips(self) -> str | None:
        """Why what it marks is left out; None when it is not."""
        if self.name == "skipif":
            conditions = self.args or (self.kwargs.get("condition"),)
            if any(isinstance(each, str) for each in conditions):
                _not_covered("skipif with its condition as text")
            return str(self.kwargs.get("reason", "")) if any(conditions) else None
        return str(self.kwargs.get("reason", "".join(self.args))) if self.name == "skip" else None


class Case(dict[str, Any]):
    """What to call a function with, by parameter."""

    why_skipped: str | None = None

    def merged(self, other: Case) -> Case:
        """Both, of two marks on one function."""
        both = Case({**self, **other})
        both.why_skipped = self.why_skipped if other.why_skipped is None else other.why_skipped
        return both


class Param:
    """Values of one case that has a name or marks of its own."""

    def __init__(self, *values: Any, marks: Any = (), id: Any = None) -> None:  # noqa: A002
        self.values = values
        self.marks = tuple(marks) if isinstance(marks, list | tuple) else (marks,)


def _cases(argnames: Any, argvalues: Any, ids: Any = None) -> list[Case]:
    names = split_names(argnames)
    found = []
    for given in argvalues:
        param = given if isinstance(given, Param) else None
        values = param.values if param else tuple(given) if len(names) != 1 else (given,)
        if len(values) != len(names):
            raise BadSuite(f"parametrize names {len(names)} parameters and gives {len(values)} values")
        case = Case(zip(names, values, strict=True))
        reasons = [mark.skips() for mark in (param.marks if param else ())]
        case.why_skipped = next((why for why in reasons if why is not None), None)
        found.append(case)
    return found


class Marks:
    """`pytest.mark`: any name is a mark."""

    def __getattr__(self, name: str) -> Mark:
        if name in REFUSED_MARKS:
            _not_covered(f"pytest.mark.{name}")
        if name.startswith("__"):
            raise AttributeError(name)
        return Mark(name)


def stand_in() -> ModuleType:
    """A new module for `import pytest` to find."""
    module = ModuleType("pytest")
    module.__dict__.update(raises=raises, fail=fail, skip=skip, approx=approx, mark=Marks(), param=Param)
    module.__dict__.update(main=lambda *_, **__: 0, __getattr__=_missing)
    return module


def _missing(name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(name)
    _not_covered(f"pytest.{name}")
