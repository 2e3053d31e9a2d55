"""Training files of verifiers: JSON, one question a line, optionally compressed (.gz). `docs/verifier.md` shows one."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from reranker.errors import InvalidQuestions
from reranker.verifier.question import Attempt, Labelled, Question
from sandbox import Outcome, ProgramClass, Status, TestOutcome


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _Test(_Strict):
    status: Status
    value: str | None = None
    type: str | None = None
    hash: str | None = None
    error: str | None = None


class _Run(_Strict):
    status: Status
    form: Literal["calls", "stdio", "asserts", "observe"] = "calls"
    tests: list[_Test] = []


class _Candidate(_Strict):
    text: str
    cls: Annotated[ProgramClass | None, Field(alias="class")]
    copies: Annotated[int, Field(ge=1)] = 1
    mean_logprob: float | None = None
    outcome: _Run | None = None
    trial: _Run | None = None


class _Line(_Strict):
    id: str
    prompt: str
    candidates: list[_Candidate]
    weights: list[Annotated[int, Field(ge=1)]] = []

    @model_validator(mode="after")
    def _one_weight_a_trial(self) -> _Line:
        for number, candidate in enumerate(self.candidates):
            tests = candidate.trial.tests if candidate.trial else []
            if tests and len(tests) != len(self.weights):
                raise ValueError(f"candidates.{number}.trial: {len(tests)} tests, but {len(self.weights)} weights")
        return self


def read_questions(path: Path) -> Iterator[Labelled]:
    """The questions of a file, in order. Raises `InvalidQuestions` naming the file, the line and the field."""
    try:
        data = path.read_bytes()
        lines = (gzip.decompress(data) if path.suffix == ".gz" else data).decode().split("\n")
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise InvalidQuestions(f"{path}: cannot be read: {error}") from error
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                yield _labelled(_Line.model_validate_json(line))
            except ValidationError as error:
                first = error.errors(include_url=False)[0]
                field = ".".join(str(part) for part in first["loc"]) or "line"
                raise InvalidQuestions(f"{path}:{number}: {field}: {first['msg']}") from error


def write_line(labelled: Labelled) -> str:
    """One line of such a file, without its newline; fields at their defaults are left out."""
    question = labelled.question
    line = _Line(
        id=question.id,
        prompt=question.prompt,
        candidates=[
            _Candidate.model_validate(
                {
                    "text": attempt.text,
                    "class": cls,
                    "copies": attempt.copies,
                    "mean_logprob": attempt.mean_logprob,
                    "outcome": _run(attempt.outcome),
                    "trial": _run(attempt.trial),
                }
            )
            for attempt, cls in zip(question.attempts, labelled.classes, strict=True)
        ],
        weights=list(question.weights),
    )
    return line.model_dump_json(by_alias=True, exclude_defaults=True)


def _run(outcome: Outcome | None) -> _Run | None:
    if outcome is None:
        return None
    tests = [
        _Test(status=t.status, value=t.value, type=t.value_type, hash=t.value_hash, error=t.exception_type)
        for t in outcome.tests
    ]
    return _Run(status=outcome.status, form=outcome.form, tests=tests)


def _outcome(run: _Run | None) -> Outcome | None:
    if run is None:
        return None
    tests = tuple(
        TestOutcome(
            index=index, status=t.status, value=t.value, value_type=t.type, value_hash=t.hash, exception_type=t.error
        )
        for index, t in enumerate(run.tests)
    )
    return Outcome(status=run.status, form=run.form, tests=tests)


def _labelled(line: _Line) -> Labelled:
    attempts = tuple(
        Attempt(
            text=each.text,
            copies=each.copies,
            mean_logprob=each.mean_logprob,
            outcome=_outcome(each.outcome),
            trial=_outcome(each.trial),
        )
        for each in line.candidates
    )
    question = Question(id=line.id, prompt=line.prompt, attempts=attempts, weights=tuple(line.weights))
    return Labelled(question=question, classes=tuple(each.cls for each in line.candidates))
