"""What was sampled, kept as a pool: a file that `touchstone rank` ranks by any method (docs/ranking.md)."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from reranker.evaluation.beside import begun, check_same_run, whole_lines
from reranker.evaluation.errors import InvalidSetting
from reranker.evaluation.files import check_writable
from reranker.evaluation.problem import Problem
from reranker.evaluation.settings import Settings, SourceInfo
from reranker.evaluation.sources import Sampled, Source
from sandbox import is_python

_KIND = "touchstone pool"


class KeepingSource:
    """Another source's samples, a line a problem appended to a file before they are judged.

    A problem that is there already, as after a run that went on, is not written again. All lines are samples of one
    suite, from one source, by the same settings: the file beside says which.
    """

    def __init__(self, source: Source, path: Path, suite: str) -> None:
        """`suite`: its content hash. Raises `InvalidSetting` where the file is no pool, or cannot be written."""
        self._source, self._path, self._suite = source, path, suite
        self._known = _known(path)

    @property
    def info(self) -> SourceInfo:
        """See `Source`."""
        return self._source.info

    def has(self, problem: Problem) -> bool:
        """See `Source`."""
        return self._source.has(problem)

    def check(self, settings: Settings) -> None:
        """See `Source`. Raises `DifferentRun`, too, for a file that was begun with others."""
        self._source.check(settings)
        sampling = {name: value for name, value in settings.identity().items() if name != "test_cpu_s"}
        source = {f"source.{name}": value for name, value in asdict(self.info).items()}
        identity = {"suite": self._suite, **source, **sampling}
        check_same_run(self._path, identity, kind=_KIND, begun=begun(self._path))

    async def sample(self, problem: Problem, settings: Settings) -> Sampled:
        """See `Source`."""
        sampled = await self._source.sample(problem, settings)
        if problem.task_id not in self._known:
            self._known.add(problem.task_id)
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(_line(problem, sampled)) + "\n")
        return sampled


def _line(problem: Problem, sampled: Sampled) -> dict[str, Any]:
    line: dict[str, Any] = {"task_id": problem.task_id, "prompt": problem.prompt}
    extras = {"entry_point": problem.entry_point, "suffix": problem.suffix}
    line |= {name: value for name, value in extras.items() if value is not None}
    if not is_python(problem.language):
        line["language"] = problem.language
    if problem.answer != "rest":
        line["answer"] = problem.answer
    line["completions"] = list(sampled.texts)
    if any(sampled.token_logprobs):
        line["logprobs"] = [
            None if each is None else [round(value, 4) for value in each] for each in sampled.token_logprobs
        ]
    return line


def _known(path: Path) -> set[str]:
    check_writable("pool", path)
    try:
        return {json.loads(line)["task_id"] for line in whole_lines(path) if line.strip()}
    except (ValueError, KeyError, TypeError) as error:
        raise InvalidSetting("pool", f"{path} is no pool that could be added to: {error!r}") from error
