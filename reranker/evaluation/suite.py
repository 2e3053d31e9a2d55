"""Suites of problems: named, read and written in one place."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from reranker.evaluation.errors import InvalidProblem
from reranker.evaluation.problem import Problem, as_row


@dataclass(frozen=True, slots=True, kw_only=True)
class ProblemSuite:
    """Problems in a fixed order. Raises `InvalidProblem` when there is none or two share a `task_id`."""

    name: str
    problems: tuple[Problem, ...]
    source: str
    """Where they came from: a path or an address."""

    def __post_init__(self) -> None:
        if not self.problems:
            raise InvalidProblem("", "there is no problem in it", self.source)
        seen: set[str] = set()
        for problem in self.problems:
            if problem.task_id in seen:
                raise InvalidProblem("task_id", f"{problem.task_id!r} occurs twice", self.source)
            seen.add(problem.task_id)

    @property
    def content_hash(self) -> str:
        """`sha256:` and 64 hexadecimal digits over the problems' hashes, in their order."""
        text = "\n".join(problem.content_hash for problem in self.problems)
        return "sha256:" + hashlib.sha256(text.encode("ascii")).hexdigest()


def load_suite(name_or_path: str) -> ProblemSuite:
    """The suite of a name (`bundled`, `bundled-fim`, `humaneval`, `mbpp`, `datasets:<hub name>[:split]`) or file.

    Raises `UnknownSuite` and `InvalidProblem`.
    """
    path = Path(name_or_path)
    return ProblemSuite(name=path.name.split(".")[0], problems=read_problems(path), source=str(path))


def read_problems(path: Path) -> tuple[Problem, ...]:
    """The problems of a `.jsonl`, `.jsonl.gz` or `.json` file. Raises `InvalidProblem`, naming file, line and field."""
    raise NotImplementedError


def write_problems(path: Path, problems: Iterable[Problem]) -> None:
    """Write a `.jsonl` or `.jsonl.gz` file: the same problems give the same bytes."""
    data = "".join(json.dumps(as_row(problem), allow_nan=False) + "\n" for problem in problems).encode("ascii")
    path.write_bytes(gzip.compress(data, mtime=0) if path.suffix == ".gz" else data)
