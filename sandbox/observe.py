"""The *observe* form: inputs without expected values; what came back is described, not judged."""

from __future__ import annotations

import hashlib
from collections import Counter, OrderedDict, defaultdict
from typing import Any

from sandbox.inside.codec import short_repr
from sandbox.outcome import Status


def describe_value(_index: int, value: Any) -> dict[str, Any]:
    """What an observed value is, as fields of a `TestOutcome`: `passed` says that there is one."""
    return {"status": Status.PASSED, "value": short_repr(value), "value_hash": fingerprint(value)}


def describe_output(index: int, output: str) -> dict[str, Any]:
    """The same of all that a program printed."""
    return {**describe_value(index, output), "value_type": "str"}


def fingerprint(value: Any) -> str:
    """A hash that equal values of equal types share, here and in every other process. `value` is plain data."""
    return hashlib.blake2b(_canonical(value).encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def _canonical(value: Any) -> str:
    kind = type(value)
    name = kind.__name__
    if kind in (set, frozenset):
        return f"{name}{{{','.join(sorted(map(_canonical, value)))}}}"
    if kind is Counter:  # what is counted zero times is as good as absent
        value = {key: count for key, count in value.items() if count != 0}
    if kind in (dict, Counter, defaultdict):
        return f"{name}{{{','.join(sorted(f'{_canonical(key)}:{_canonical(item)}' for key, item in value.items()))}}}"
    if kind is OrderedDict:
        return f"{name}{{{','.join(f'{_canonical(key)}:{_canonical(item)}' for key, item in value.items())}}}"
    if kind in (list, tuple):
        return f"{name}[{','.join(map(_canonical, value))}]"
    if kind is int:
        return hex(value)
    if kind is float:
        return float.hex(value + 0.0)  # the two zeros are equal
    if kind is complex:
        return f"{name} {_canonical(value.real)} {_canonical(value.imag)}"
    return f"{name} {value!r}"
