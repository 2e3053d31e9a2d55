"""Fresh samples: an engine is asked the prompts of groups, and what it answers is run by their suites.

Every prompt's answers are a line of a file, so that a killed run goes on behind the last one, and a later round that
asks the same weights the same thing asks nothing. Sampling and running go through `best_of_n`, as a request's do.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from engine import ContextTooLong, Engine, EngineError, EngineInfo, InvalidModel, ModelName, Priority, Sampling
from reranker import Candidate, Options, RerankError, Task, best_of_n, first_of
from reranker.evaluation import begun, check_same_run, whole_lines
from sandbox import ProgramClass, Sandbox, SandboxError
from trainer.errors import TrainerError
from trainer.groups import LIMITS, Group, Response, Source, came_to_end, task_of, verdict_of

AT_ONCE = 4
"""Prompts in work at an engine."""
KIND = "touchstone samples"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """Who is asked, and how."""

    source: Source
    info: EngineInfo
    """Of the engine that answers."""
    n: int
    temperatures: tuple[float, ...]
    top_p: float = 0.95
    max_tokens: int = 256

    def identity(self) -> dict[str, Any]:
        """What two runs of one file must share."""
        info = self.info
        return {
            "source": self.source,
            "model": info.model,
            "dtype": info.dtype,
            "weights": info.weights,
            "n": self.n,
            "temperatures": list(self.temperatures),
            "top_p": self.top_p,
            "max_tokens": self.max_tokens,
        }

    @property
    def digest(self) -> str:
        """A file's name for it."""
        return hashlib.blake2b(json.dumps(self.identity(), sort_keys=True).encode(), digest_size=8).hexdigest()


class Sampler(Protocol):
    """Engines that answer, each with a sandbox, here or elsewhere."""

    info: EngineInfo
    at_once: int
    """Prompts in work: enough that sampling and running overlap."""

    async def answer(self, ask: Ask, group: Group) -> tuple[Response, ...] | None:
        """What is answered to a group's prompt; None where it is too long for the model. Raises `TrainerError`."""
        ...


class LocalSampler:
    """One engine of this process and its sandbox."""

    at_once = AT_ONCE

    def __init__(self, engine: Engine, sandbox: Sandbox) -> None:
        """Whoever made them closes them."""
        self.info = engine.info
        self._engine, self._sandbox = engine, sandbox

    async def answer(self, ask: Ask, group: Group) -> tuple[Response, ...] | None:
        """See `Sampler`. Raises `TrainerError` naming the prompt."""
        found = []
        try:
            task = task_of(group)
            for temperature in ask.temperatures:
                ranking = await best_of_n(task, _options(ask, temperature), engine=self._engine, sandbox=self._sandbox)
                found += [_response(ask, task, candidate) for candidate in ranking.candidates]
        except ContextTooLong:
            return None
        except (EngineError, RerankError, SandboxError) as error:
            raise TrainerError(f"prompt {group.prompt_hash}: {error}") from error
        return tuple(response for response in found if response is not None)


class Answers:
    """The file of what one source answered: responses by prompt, suite and task."""

    def __init__(self, path: Path, ask: Ask) -> None:
        """Raises `DifferentRun` for a file begun by another ask, `TrainerError` for one that cannot be read."""
        self._path, self._ask = path, ask
        check_same_run(path, ask.identity(), kind=KIND, begun=begun(path))
        self._known = dict(_read(path))
        self.too_long = 0
        """Prompts now asked that do not fit the model's context: they have no answers, as if it knew none."""

    def of(self, group: Group) -> tuple[Response, ...] | None:
        """What was answered to a group's prompt; None where it was not asked."""
        return self._known.get(_name(group))

    async def fill(self, groups: Iterable[Group], sampler: Sampler, told: Callable[[int], None]) -> None:
        """Ask for every group that has no answers yet; `told` is given the number done, those found among them.

        Raises `TrainerError` naming the prompt, at the first that breaks; what was answered is kept.
        """
        done = 0
        todo = iter(groups)

        async def ask() -> None:
            nonlocal done
            for group in todo:
                if _name(group) not in self._known:
                    answers = await sampler.answer(self._ask, group)
                    self.too_long += answers is None
                    self._keep(group, answers or ())
                done += 1
                told(done)

        try:
            async with asyncio.TaskGroup() as team:
                for _ in range(sampler.at_once):
                    team.create_task(ask())
        except BaseExceptionGroup as errors:
            raise first_of(errors) from None

    def _keep(self, group: Group, answers: tuple[Response, ...]) -> None:
        line = json.dumps({"group": _name(group), "responses": [asdict(each) for each in answers]})
        with self._path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")
        self._known[_name(group)] = answers


def _options(ask: Ask, temperature: float) -> Options:
    sampling = Sampling(temperature=temperature, top_p=ask.top_p, max_tokens=ask.max_tokens, fits_context=True)
    return Options(
        method="tests",
        num_candidates=ask.n,
        sampling=sampling,
        include_greedy=False,
        early_exit="off",
        on_error="fail",
        limits=LIMITS,
        priority=Priority.BATCH,
    )


def _response(ask: Ask, task: Task, candidate: Candidate) -> Response | None:
    """A candidate as what is learnt: see `Response.text`. None for one that ends in nothing."""
    chat = task.shape == "chat"
    text = candidate.raw_text if chat else candidate.text
    if not text and candidate.finish_reason != "stop":
        return None
    info, outcome = ask.info, candidate.outcome
    return Response(
        text=text,
        ended=came_to_end(candidate, chat=chat),
        program_class=candidate.program_class,
        fraction=None if outcome is None else verdict_of(outcome).fraction,
        score=None,
        source=ask.source,
        model=info.model,
        round=_round(info.model),
        mean_logprob=candidate.mean_logprob,
    )


def _round(model: str) -> int | None:
    try:
        return ModelName.parse(model).round
    except InvalidModel:
        return None


def _name(group: Group) -> str:
    """The same text asked for another function, or judged by other tests, is another question."""
    rest = json.dumps([group.suite and group.suite["hash"], group.task], sort_keys=True)
    return f"{group.prompt_hash} {hashlib.blake2b(rest.encode(), digest_size=8).hexdigest()}"


def _read(path: Path) -> Iterator[tuple[str, tuple[Response, ...]]]:
    try:
        for line in whole_lines(path):
            row = json.loads(line)
            yield row["group"], tuple(_response_from(each) for each in row["responses"])
    except (ValueError, KeyError, TypeError) as error:
        raise TrainerError(f"{path} holds something else than samples: {error!r}") from error


def _response_from(row: dict[str, Any]) -> Response:
    kept = Response(**row)
    return kept if kept.program_class is None else replace(kept, program_class=ProgramClass(kept.program_class))
