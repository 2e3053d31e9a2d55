"""Runs a program of our own in the zygote once, so that what the interpreter sets up lazily is shared by all runs."""

from __future__ import annotations

import ast
import json
import os

from sandbox.inside.codec import decode, encode, frame, loads
from sandbox.inside.suite import plan_suite

_SOURCE = """
from typing import List, Dict, Optional
import collections, math, re
def f(values: List[int], *rest, **named) -> Dict[str, int]:
    counts = collections.Counter(str(v) for v in sorted(values, key=lambda v: -v))
    return {k: v + len(rest) for k, v in counts.items() if re.match("[0-9]+", k)} or {"none": math.floor(0.5)}
class C:
    def __init__(self): self.x = [i ** 2 for i in range(10)]
"""
_TESTS = "def check(candidate):\n    assert candidate([1, 2]) == {'1': 1, '2': 1}\n    assert candidate([]) != 1\n"


def warm_up() -> None:
    """Compile, run, encode and decode something; print nothing, keep nothing."""
    namespace: dict[str, object] = {"__name__": "warm"}
    exec(compile(_SOURCE, "<candidate>", "exec", dont_inherit=True), namespace)  # noqa: S102  our own text
    value = namespace["f"]([1, 2, 2])  # type: ignore[operator]
    decode(loads(frame({"value": encode([value, (1.5, None), {1}, b"x"])})[4:])["value"])
    plan = plan_suite(_TESTS)
    plan.compiled()
    json.loads(json.dumps({"a": [1, "b"]}))
    ast.literal_eval("[1]")
    read, write = os.pipe()
    os.close(read)
    os.close(write)
