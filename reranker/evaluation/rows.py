"""One row of a file or a table becomes a problem: HumanEval's fields and ours, or MBPP's own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from reranker.evaluation import mbpp
from reranker.evaluation.errors import InvalidProblem
from reranker.evaluation.problem import Answer, Problem, StdioCase, Tag

_EXACT = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class _Stdio(BaseModel):
    model_config = _EXACT
    input: str
    output: str
    visible: bool = False


class _Row(BaseModel):
    """HumanEval's fields and ours; see `Problem`."""

    model_config = _EXACT
    task_id: str
    prompt: str
    entry_point: str | None = None
    canonical_solution: str | None = None
    test: str | None = None
    suffix: str | None = None
    visible_test: str | None = None
    stdio: list[_Stdio] = []
    files: dict[str, str] = {}
    language: str = "python"
    answer: Answer = "rest"
    tags: dict[str, Tag] = {}


class _Mbpp(BaseModel):
    """MBPP as published; `text` is named `prompt` in its sanitised half."""

    model_config = _EXACT
    task_id: int
    text: str = Field(validation_alias="text")
    code: str
    test_list: list[str] = Field(min_length=1)
    test_imports: list[str] = []
    test_setup_code: str = ""
    challenge_test_list: list[str] = []
    source_file: str = ""


def problem_of(row: Mapping[str, Any], where: str) -> Problem:
    """The problem that a row holds; a null stands for a field that is absent.

    Raises `InvalidProblem`, naming `where` and the field.
    """
    given = {name: value for name, value in row.items() if value is not None}
    try:
        if "test_list" in given:
            return _from_mbpp(given)
        return _from_humaneval(given)
    except ValidationError as error:
        first = error.errors()[0]
        raise InvalidProblem(".".join(map(str, first["loc"])), first["msg"], where) from error
    except InvalidProblem as error:
        raise InvalidProblem(error.field, error.fault, where) from error


def _from_humaneval(given: dict[str, Any]) -> Problem:
    values = dict(_Row.model_validate(given))
    values["stdio"] = tuple(StdioCase(**dict(case)) for case in values["stdio"])
    problem = Problem(**values)
    return mbpp.mend(problem) if mbpp.is_prepared(problem) else problem


def _from_mbpp(given: dict[str, Any]) -> Problem:
    if "prompt" in given and "text" not in given:
        given = {"text" if name == "prompt" else name: value for name, value in given.items()}
    row = _Mbpp.model_validate(given)
    return mbpp.original(row.task_id, row.text, row.code, row.test_list, row.test_imports, row.test_setup_code)
