"""The input: a file of prompts and completions, JSON a line. CodeT's pools and HumanEval's samples read as they are."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from reranker.evaluation.errors import InvalidProblem
from reranker.evaluation.problem import Answer
from reranker.evaluation.suite import read_rows

Logprobs = tuple[float, ...] | None
"""Natural log-probability of each token of one completion; None: not said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One problem of the pool: what was asked, what was answered, and the tests that a model wrote for it."""

    task_id: str
    completions: tuple[str, ...]
    prompt: str | None = None
    """None: the one in the file of problems."""
    entry_point: str | None = None
    suffix: str | None = None
    language: str | None = None
    answer: Answer | None = None
    generated_tests: tuple[str, ...] = ()
    """Samples, each of which goes on where `assert ` ends."""
    logprobs: tuple[Logprobs, ...] = ()
    """One a completion, or none at all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool:
    """The rows of a file, in its order."""

    path: Path
    rows: tuple[Row, ...]
    content_hash: str
    """`b2:` and 32 hexadecimal digits over the file's bytes."""
    unread: tuple[str, ...] = ()
    """Keys that mean nothing here."""


class _Line(BaseModel):
    model_config = ConfigDict(extra="allow", strict=True, frozen=True, allow_inf_nan=False)
    task_id: str = Field(min_length=1)
    prompt: str | None = None
    entry_point: str | None = None
    suffix: str | None = None
    language: str | None = None
    answer: Answer | None = None
    completions: list[str] | None = Field(None, min_length=1)
    completion: str | None = None
    generated_tests: list[str] | None = None
    logprobs: list[float] | list[list[float] | None] | None = None


_SHARED = ("prompt", "entry_point", "suffix", "language", "answer", "generated_tests")
"""What belongs to the problem: said once, or repeated unchanged where a completion is a line."""


def read_pool(path: Path) -> Pool:
    """Read a `.jsonl`, `.jsonl.gz` or `.json` file; docs/ranking.md has the format.

    Raises `UnknownSuite` when there is no such file, and `InvalidProblem`, naming file, line and field.
    """
    rows: dict[str, Row] = {}
    listed: dict[str, str] = {}
    unread: dict[str, None] = {}
    for data, where in read_rows(path):
        line = _parse(data, where)
        unread |= dict.fromkeys(line.model_extra or {})
        row = _row(line, where)
        before = rows.get(row.task_id)
        if before is not None and (line.completions is not None or row.task_id in listed):
            there = f" in {listed[row.task_id]}" if row.task_id in listed else ""
            raise InvalidProblem("task_id", f"{row.task_id!r} has its `completions` already{there}", where)
        if line.completions is not None:
            listed[row.task_id] = where
        rows[row.task_id] = row if before is None else _joined(before, row, where)
    if not rows:
        raise InvalidProblem("", "there is no completion in it", str(path))
    digest = hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()
    return Pool(path=path, rows=tuple(rows.values()), content_hash=f"b2:{digest}", unread=tuple(unread))


def _parse(data: Mapping[str, Any], where: str) -> _Line:
    try:
        return _Line.model_validate(data)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise InvalidProblem(".".join(map(str, first["loc"])), first["msg"], where) from error


def _row(line: _Line, where: str) -> Row:
    if (line.completions is None) == (line.completion is None):
        fault = "is missing, and so is `completion`" if line.completions is None else "is given beside `completion`"
        raise InvalidProblem("completions", fault, where)
    texts = line.completions if line.completions is not None else [line.completion or ""]
    return Row(
        task_id=line.task_id,
        completions=tuple(texts),
        prompt=line.prompt,
        entry_point=line.entry_point,
        suffix=line.suffix,
        language=line.language,
        answer=line.answer,
        generated_tests=tuple(line.generated_tests or ()),
        logprobs=_logprobs(line, where),
    )


def _logprobs(line: _Line, where: str) -> tuple[Logprobs, ...]:
    """One a completion: of a single one the numbers themselves, of several a list of them each."""
    given = line.logprobs
    if given is None:
        return () if line.completions is not None else (None,)
    flat = [each for each in given if isinstance(each, float)]
    nested = [None if each is None else tuple(each) for each in given if not isinstance(each, float)]
    found = [tuple(flat)] if line.completions is None and not nested else nested
    if len(found) != len(line.completions or [""]) or (flat and nested) or (flat and line.completions is not None):
        wanted = "a number a token" if line.completions is None else "a list or null for each completion"
        raise InvalidProblem("logprobs", f"needs {wanted}", where)
    if any(each is not None and (not each or max(each) > 0) for each in found):
        raise InvalidProblem("logprobs", "needs natural logarithms of probabilities, one a token: 0 at most", where)
    return tuple(found)


def _joined(before: Row, row: Row, where: str) -> Row:
    """A further completion of a problem that comes a line each."""
    for name in _SHARED:
        value = getattr(row, name)
        if value not in (None, (), getattr(before, name)):
            raise InvalidProblem(name, f"differs from that of an earlier line of {row.task_id!r}", where)
    return replace(before, completions=before.completions + row.completions, logprobs=before.logprobs + row.logprobs)
