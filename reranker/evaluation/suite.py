"""Suites of problems: named, read and written in one place."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from reranker.evaluation.errors import InvalidProblem, UnknownSuite
from reranker.evaluation.hub import read_dataset
from reranker.evaluation.problem import Problem, as_row
from reranker.evaluation.rows import problem_of

_DATA = "TOUCHSTONE_DATA"
_PUBLIC = {"humaneval": "humaneval.jsonl.gz", "mbpp": "mbpp_sanitized.jsonl.gz"}
_HUB = "datasets:"
_ENDINGS = (".jsonl", ".jsonl.gz", ".json")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProblemSuite:
    """Problems in a fixed order. Raises `InvalidProblem` when there is none or two share a `task_id`."""

    name: str
    problems: tuple[Problem, ...]
    source: str
    """Where they came from: a path or an address."""

    def __post_init__(self) -> None:
        _check_distinct((problem, self.source) for problem in self.problems)
        if not self.problems:
            raise InvalidProblem("", "there is no problem in it", self.source)

    @property
    def content_hash(self) -> str:
        """`sha256:` and 64 hexadecimal digits over the problems' hashes, in their order."""
        text = "\n".join(problem.content_hash for problem in self.problems)
        return "sha256:" + hashlib.sha256(text.encode("ascii")).hexdigest()


def load_suite(name_or_path: str) -> ProblemSuite:
    """The suite of a name or file.

    Names: the shipped ones (`bundled`, ...), `humaneval` and `mbpp` in the folder that `TOUCHSTONE_DATA` names, and
    `datasets:NAME[:SPLIT]` or `datasets:NAME:CONFIGURATION:SPLIT`. Anything with a known ending is a file. Raises
    `UnknownSuite` and `InvalidProblem`.
    """
    if name_or_path.startswith(_HUB):
        problems = read_dataset(name_or_path.removeprefix(_HUB))
        return ProblemSuite(name=name_or_path, problems=problems, source=name_or_path)
    path = _path_of(name_or_path)
    return ProblemSuite(name=path.name.split(".")[0], problems=read_problems(path), source=str(path))


def read_problems(path: Path) -> tuple[Problem, ...]:
    """The problems of a `.jsonl` or `.jsonl.gz` file, or of a `.json` file that holds a list.

    Raises `UnknownSuite` when there is no such file, and `InvalidProblem`, naming file, line and field.
    """
    if not path.name.endswith(_ENDINGS):
        raise UnknownSuite(f"{path}: a suite is a file that ends in {', '.join(_ENDINGS)}")
    found = [(problem_of(row, where), where) for row, where in read_rows(path)]
    _check_distinct(found)
    if not found:
        raise InvalidProblem("", "there is no problem in it", str(path))
    return tuple(problem for problem, _ in found)


def write_problems(path: Path, problems: Iterable[Problem]) -> None:
    """Write a `.jsonl` or `.jsonl.gz` file: the same problems give the same bytes. Raises `UnknownSuite` for others."""
    if not path.name.endswith(_ENDINGS[:2]):
        raise UnknownSuite(f"{path}: suites are written as {' or '.join(_ENDINGS[:2])}")
    data = "".join(json.dumps(as_row(problem), allow_nan=False) + "\n" for problem in problems).encode("ascii")
    path.write_bytes(gzip.compress(data, mtime=0) if path.suffix == ".gz" else data)


def shipped() -> dict[str, Path]:
    """The suites that are part of the package, by name."""
    folder = Path(str(files("reranker.evaluation"))) / "suites"
    return {path.name.split(".")[0]: path for path in sorted(folder.glob("*.jsonl.gz"))}


def _path_of(name: str) -> Path:
    if name in shipped():
        return shipped()[name]
    if name not in _PUBLIC:
        if name.endswith(_ENDINGS):
            return Path(name)
        known = ", ".join((*shipped(), *_PUBLIC, _HUB + "NAME"))
        raise UnknownSuite(f"unknown suite {name!r}; known: {known}, or a file that ends in {', '.join(_ENDINGS)}")
    folder = os.environ.get(_DATA)
    if not folder:
        raise UnknownSuite(
            f"{name!r} is read from a folder of data sets: set {_DATA} to one that holds {_PUBLIC[name]}"
        )
    path = Path(folder) / _PUBLIC[name]
    if not path.is_file():
        raise UnknownSuite(f"{path} is missing: put the file there, or set {_DATA} to the folder that holds it")
    return path


def read_rows(path: Path) -> list[tuple[dict[str, Any], str]]:
    """Each object of a file of rows, with where it stands. Raises as `read_problems`."""
    try:
        data = path.read_bytes()
        text = (gzip.decompress(data) if path.suffix == ".gz" else data).decode("utf-8")
    except FileNotFoundError as error:
        raise UnknownSuite(f"{path}: no such file") from error
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise InvalidProblem("", f"cannot be read: {error}", str(path)) from error
    if path.suffix == ".json":
        rows = _parse(text, str(path))
        if not isinstance(rows, list):
            raise InvalidProblem("", "is not a list of problems", str(path))
        placed = [(row, f"{path}, item {number}") for number, row in enumerate(rows, 1)]
    else:
        lines = ((line, f"{path}, line {number}") for number, line in enumerate(text.split("\n"), 1) if line.strip())
        placed = [(_parse(line, where), where) for line, where in lines]
    for row, where in placed:
        if not isinstance(row, dict):
            raise InvalidProblem("", "is not an object", where)
    return placed


def _parse(text: str, where: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_without_repeats)
    except (ValueError, RecursionError) as error:
        raise InvalidProblem("", f"is not JSON: {error}", where) from error
    except InvalidProblem as error:
        raise InvalidProblem(error.field, error.fault, where) from error


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) < len(pairs):
        names = [name for name, _ in pairs]
        raise InvalidProblem(next(name for name in names if names.count(name) > 1), "is given twice")
    return row


def _check_distinct(placed: Iterable[tuple[Problem, str]]) -> None:
    first: dict[str, str] = {}
    for problem, where in placed:
        if problem.task_id in first:
            raise InvalidProblem("task_id", f"{problem.task_id!r} stands already in {first[problem.task_id]}", where)
        first[problem.task_id] = where
