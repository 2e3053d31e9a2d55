"""What stands in the judge for a value that cannot cross: it says whether it is true, and refuses all else.

Truth is the one question whose answer gives a candidate nothing that returning True or False would not; every other
(equality, type, length, order, ...) would have to be believed.
"""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any, NoReturn

_KINDS = (object, int, float, complex, str, bytes, list, dict, set, types.GeneratorType, types.CoroutineType)
_ITS_OWN = {"__bool__", "__class__", "__del__", "__init__", "__init_subclass__", "__new__", "__subclasshook__"}
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


def opaque(true: Callable[[], bool], refusal: Callable[[], BaseException]) -> Any:
    """A value whose `bool` is `true()`; whatever else is done with it raises `refusal()`."""

    def refuse(*_: object, **__: object) -> NoReturn:
        raise refusal()

    body: dict[str, Any] = dict.fromkeys(_SPECIAL, refuse)
    body["__class__"] = property(refuse)
    body["__bool__"] = lambda _: true()
    return type("Opaque", (), body)()
