"""Values of a suite as Python literals, and back, exactly.

`repr` and `ast.literal_eval` lose empty frozensets, infinities, negative zeros inside complex numbers and very long
integers, and a set's `repr` depends on the process's hash seed. Those are written here as expressions that Python
reads too (`frozenset({1})`, `float('nan')`, `complex(-0.0, 1.0)`, `0x1f`); everything else is its `repr`.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Callable
from typing import Any

MAX_DECIMAL_BITS = 10_000
"""A longer integer is written in hexadecimal: Python refuses to print over 4300 decimal digits."""


def write_literal(value: Any) -> str:
    """The literal of a plain value. Raises `ValueError` for a value of another type or nested too deep to read back."""
    try:
        text = _write(value)
        ast.parse(text, mode="eval")
    except (RecursionError, MemoryError, SyntaxError) as error:
        raise ValueError("nested too deep") from error
    return text


def read_literal(text: str) -> Any:
    """The value of a literal that `write_literal` wrote. Raises `ValueError` for anything else."""
    try:
        return read_node(ast.parse(text, mode="eval").body)
    except (RecursionError, MemoryError, SyntaxError, TypeError) as error:
        raise ValueError(f"not a literal: {text[:80]!r}") from error


def _write(value: Any) -> str:
    kind = type(value)
    if value is None or kind in (bool, str, bytes):
        return repr(value)
    if kind is int:
        return repr(value) if value.bit_length() < MAX_DECIMAL_BITS else hex(value)
    if kind is float:
        return repr(value) if math.isfinite(value) else f"float({str(value)!r})"
    if kind is complex:
        return f"complex({_write(value.real)}, {_write(value.imag)})"
    if kind is list:
        return f"[{', '.join(map(_write, value))}]"
    if kind is tuple:
        return f"({_write(value[0])},)" if len(value) == 1 else f"({', '.join(map(_write, value))})"
    if kind is dict:
        return "{" + ", ".join(f"{_write(key)}: {_write(item)}" for key, item in value.items()) + "}"
    if kind is set or kind is frozenset:
        items = ", ".join(sorted(map(_write, value)))
        return f"{kind.__name__}({{{items}}})" if items else f"{kind.__name__}()"
    raise ValueError(f"{kind.__name__} is not plain data")


_CALLS: dict[str, Callable[..., Any]] = {"float": float, "complex": complex, "set": set, "frozenset": frozenset}
LITERAL_CALLS = frozenset(_CALLS)
"""The names that a literal may call."""


def read_node(node: ast.expr) -> Any:
    """The value of a literal that is parsed already.

    Raises `ValueError` for what is none, and what Python raises where its value cannot be made: `TypeError` for a list
    in a set, `OverflowError`, `RecursionError`, `MemoryError`.
    """
    match node:
        case ast.Constant(value=value):
            return value
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() | complex() as value)):
            return -value
        case ast.Tuple(elts=items):
            return tuple(map(read_node, items))
        case ast.List(elts=items):
            return list(map(read_node, items))
        case ast.Set(elts=items):
            return set(map(read_node, items))
        case ast.Dict(keys=keys, values=values) if None not in keys:
            return {read_node(key): read_node(value) for key, value in zip(keys, values, strict=True) if key}
        case ast.Call(func=ast.Name(id=name), args=items, keywords=[]) if name in _CALLS:
            return _CALLS[name](*map(read_node, items))
    raise ValueError(f"not a literal: {ast.unparse(node)[:80]}")
