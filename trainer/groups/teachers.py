r"""Solutions by teachers, from files: JSON, one a line, for prompts of the log.

    {"prompt": "def f(x):\n", "completion": "    return x\n", "model": "big-code-34b"}
    {"exchange": "cmpl-...", "completion": "...", "model": "..."}

`prompt` is a text, which is also the only message of a chat, or an object as the log keeps prompts. `task_id` is
another word for `exchange` (`touchstone rank` and `feedback rescore` write it). A completion is what would follow the
prompt; for a chat, the whole reply.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from feedback import prompt_hash, redact_all
from trainer.errors import BadGroups


class _Line(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    prompt: str | dict[str, Any] | None = None
    exchange: str | None = None
    task_id: str | None = None
    completion: str
    model: str = Field(min_length=1)

    @model_validator(mode="after")
    def _of_one_prompt(self) -> _Line:
        if sum(each is not None for each in (self.prompt, self.exchange, self.task_id)) != 1:
            raise ValueError("needs one of prompt, exchange and task_id")
        return self


@dataclass(frozen=True, slots=True)
class Solution:
    """What one teacher wrote for one prompt."""

    completion: str
    model: str


@dataclass(slots=True)
class Teachers:
    """Solutions by prompt and by exchange. All are held in memory."""

    solutions: list[Solution] = field(default_factory=list)
    _by: dict[str, list[int]] = field(default_factory=dict)

    def add(self, solution: Solution, names: Iterable[str]) -> None:
        """Keep a solution for the prompts of these hashes, or the exchange of this id."""
        for name in set(names):
            self._by.setdefault(name, []).append(len(self.solutions))
        self.solutions.append(solution)

    def places(self, hash_of_prompt: str, exchanges: Iterable[str]) -> list[int]:
        """Where in `solutions` those of a prompt are, in the files' order."""
        if not self.solutions:
            return []
        return sorted({place for name in (hash_of_prompt, *exchanges) for place in self._by.get(name, ())})


def read_teachers(paths: Sequence[Path]) -> Teachers:
    """Raises `BadGroups`, naming file, line and field."""
    teachers = Teachers()
    for path in paths:
        try:
            data = path.read_bytes()
            lines = (gzip.decompress(data) if path.suffix == ".gz" else data).decode("utf-8").split("\n")
        except (OSError, EOFError, ValueError, zlib.error) as error:
            raise BadGroups(f"{path}: cannot be read: {error}") from error
        for number, line in enumerate(lines, 1):
            if line.strip():
                try:
                    found = _Line.model_validate_json(line)
                except ValidationError as error:
                    first = error.errors(include_url=False)[0]
                    where = ".".join(map(str, first["loc"])) or "line"
                    raise BadGroups(f"{path}, line {number}: {where}: {first['msg']}") from error
                teachers.add(Solution(found.completion, found.model), _names(found))
    return teachers


def _names(line: _Line) -> list[str]:
    """What a prompt may be called: its hash, redacted as the log's prompts are, or its exchange."""
    if line.prompt is None:
        return [line.exchange or line.task_id or ""]
    if isinstance(line.prompt, dict):
        return [prompt_hash(redact_all(line.prompt))]
    forms: list[dict[str, Any]] = [
        {"kind": "text", "text": line.prompt},
        {"kind": "chat", "messages": [{"role": "user", "content": line.prompt}]},
    ]
    return [prompt_hash(redact_all(form)) for form in forms]
