"""What stands in the judge for a value that cannot cross: it says whether it is true, and refuses all else.

Truth is the one question whose answer gives a candidate nothing that returning True or False would not; every other
(equality, type, length, order, ...) would have to be believed. The same stands for a name of the program's of which
only a call tells what it is.
"""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any, NoReturn

_KINDS = (object, int, float, complex, str, bytes, list, dict, set, types.GeneratorType, types.CoroutineType)
_ITS_OWN = {
    "__bool__",
    "__class__",
    "__del__",
    "__getstate__",
    "__init__",
    "__init_subclass__",
    "__new__",
    "__subclasshook__",
}
_MORE = {
    "__aenter__",
    "__aexit__",
    "__aiter__",
    "__anext__",
    "__call__",
    "__enter__",
    "__exit__",
    "__matmul__",
    "__rmatmul__",
}
_SPECIAL = {
    name for kind in _KINDS for name in dir(kind) if name.startswith("__") and callable(getattr(kind, name))
} - _ITS_OWN | _MORE
"""The methods that Python looks up on the type, so that none falls back to what `object` would say."""


def _part(kind: type, name: str) -> Any:
    return type.__getattribute__(kind, name)


def _refuse(value: Any, *_: object, **__: object) -> NoReturn:
    raise _part(type(value), "_refusal")()


def _refuse_kind(kind: Any, *_: object, **__: object) -> NoReturn:
    raise _part(kind, "_refusal")()


_ASKED_OF_KINDS = ("__getattribute__", "__eq__", "__ne__", "__hash__", "__call__", "__repr__", "__str__", "__or__")
_Kind: Any = type("_Kind", (type,), dict.fromkeys(_ASKED_OF_KINDS, _refuse_kind))
"""The type of the values' types, which tell as little: `issubclass(type(value), Iterator)` is refused too."""

_body: dict[str, Any] = dict.fromkeys(_SPECIAL, _refuse)
_body["__class__"] = property(_refuse)
_body["__bool__"] = lambda value: _part(type(value), "_true")()
_body["__slots__"] = ()
_Opaque = _Kind("Opaque", (), _body)


def opaque(true: Callable[[], bool], refusal: Callable[[], BaseException]) -> Any:
    """A value whose `bool` is `true()`; whatever else is done with it raises `refusal()`."""
    return _one({"_true": staticmethod(true), "_refusal": staticmethod(refusal)})


def only_called(call: Callable[..., Any], refusal: Callable[[], BaseException]) -> Any:
    """A value that `call` answers for when it is called; whatever else is done with it raises `refusal()`."""
    return _one({"__call__": staticmethod(call), "__bool__": _refuse, "_refusal": staticmethod(refusal)})


def _one(parts: dict[str, Any]) -> Any:
    # A small type for each, so that no two are of one type as far as `is` can tell.
    return object.__new__(type.__call__(_Kind, "Opaque", (_Opaque,), {"__slots__": (), **parts}))


def is_opaque(value: Any) -> bool:
    """Whether it is one of these; asks the value nothing."""
    return type(type(value)) is _Kind


def is_callable(value: Any) -> bool:
    """`callable`, which looks at the type itself and so has to be refused here."""
    return _refuse(value) if is_opaque(value) else callable(value)
