"""The noun of evaluation: a problem, with everything that is needed to pose it and to judge its answers."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from pathlib import PurePosixPath
from typing import Any, Literal

from reranker.evaluation.errors import InvalidProblem

Tag = str | int | float | bool
Answer = Literal["rest", "program"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StdioCase:
    """One test of a program that reads its input and prints its answer."""

    input: str
    output: str
    visible: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One problem of a suite. The first five fields carry HumanEval's names and meanings.

    Raises `InvalidProblem` for an empty `task_id`, a path in `files` that leaves the program's folder, and a tag that
    JSON has no number for.
    """

    task_id: str
    prompt: str
    """What the model is given; with `suffix`, what stands before the gap."""
    entry_point: str | None = None
    canonical_solution: str | None = None
    """A completion that passes; with `suffix`, what fills the gap."""
    test: str | None = None
    """The hidden suite: HumanEval's `check(candidate)`, plain assertions or unittest."""
    suffix: str | None = None
    """A fill-in-the-middle problem: what stands after the gap."""
    visible_test: str | None = None
    """The suite the prompt's author knows; None: the examples in the prompt are it."""
    stdio: tuple[StdioCase, ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)
    """Further files of the program: text by relative path, `/` between its parts."""
    language: str = "python"
    answer: Answer = "rest"
    """What a completion is: `rest`, it goes on where the prompt ends; `program`, it stands alone and the prompt is
    words about it."""
    tags: Mapping[str, Tag] = field(default_factory=dict)
    """What tables group by, e.g. `{"n_steps": 2}`."""

    def __post_init__(self) -> None:
        if not self.task_id:
            raise InvalidProblem("task_id", "is empty")
        for path in self.files:
            if not _stays_inside(path):
                raise InvalidProblem("files", f"{path!r} is not a plain relative path")
        for name, value in self.tags.items():
            if isinstance(value, float) and not math.isfinite(value):
                raise InvalidProblem("tags", f"{name!r} is not a finite number")

    @property
    def content_hash(self) -> str:
        """`sha256:` and 64 hexadecimal digits over the canonical JSON of `as_row`."""
        text = json.dumps(as_row(self), sort_keys=True, separators=(",", ":"), allow_nan=False)
        return "sha256:" + hashlib.sha256(text.encode("ascii")).hexdigest()


def as_row(record: Problem | StdioCase) -> dict[str, Any]:
    """A record as JSON's own types, without the fields at their defaults: rows stay short, and hashes outlive new
    fields.
    """
    row: dict[str, Any] = {}
    for each in fields(record):
        value = getattr(record, each.name)
        default = each.default_factory() if each.default_factory is not MISSING else each.default
        if value == default and type(value) is type(default):
            continue
        if isinstance(value, tuple):
            value = [as_row(case) for case in value]
        elif isinstance(value, Mapping):
            value = dict(sorted(value.items()))
        row[each.name] = value
    return row


def _stays_inside(path: str) -> bool:
    """Whether a path names a file below the program's folder, in the one way there is to write it."""
    if not path or path == "." or "\0" in path:
        return False
    plain = PurePosixPath(path)
    return path == str(plain) and not plain.is_absolute() and ".." not in plain.parts
