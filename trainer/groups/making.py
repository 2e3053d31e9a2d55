"""The second pass, one prompt: from what is on disk of it to its group."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from feedback import InvalidExchange, redact, suite_from_data, task_from_data
from reranker import Task, extract, off_loop
from sandbox import Suite, UnsupportedLanguage
from trainer.groups.contaminated import Contamination
from trainer.groups.draft import from_bytes
from trainer.groups.files import to_line
from trainer.groups.gather import Gathered, Kept, distinct, drawn, provenance
from trainer.groups.ladder import place
from trainer.groups.runs import FaultySuite, Runs
from trainer.groups.settings import Settings
from trainer.groups.split import split_of
from trainer.groups.tally import Taken, taken
from trainer.groups.teachers import Teachers
from trainer.groups.types import Group, Response

T = TypeVar("T")
U = TypeVar("U")


@dataclass(slots=True)
class Made:
    """What became of one prompt and suite."""

    group: Group | None = None
    line: str | None = None
    """The same as a line of the file, where that is asked for instead."""
    taken: Taken | None = None
    """Where there is a group."""
    why: str = ""
    """Why there is no group."""
    keys: set[str] = field(default_factory=set)
    """Those with a part in it."""
    notes: Counter[str] = field(default_factory=Counter)
    """Responses left out, by reason."""
    twice: int = 0
    over: int = 0
    """Exchanges left out because their key has its share."""
    suite_held: str | None = None
    """The evaluation suite of which the prompt holds a problem."""
    taught: list[int] = field(default_factory=list)
    """Places of the teachers' solutions that belong to it."""


class MustRun(Exception):
    """Something must be run, and there is nothing to run it."""


class _LeftOut(Exception):
    """No group comes of this prompt; says why."""


class Maker:
    """Makes a group of what is on disk."""

    def __init__(
        self,
        settings: Settings,
        teachers: Teachers,
        contamination: Contamination | None,
        runs: Runs | None = None,
        *,
        lines: bool = False,
    ) -> None:
        """`lines`: wanted are lines of a file, not groups."""
        self.settings, self._runs, self._teachers, self._contamination = settings, runs, teachers, contamination
        self._lines = lines

    async def make(self, entry: Iterable[bytes], full: Collection[str]) -> Made:
        """`entry`: drafts as bytes, all of one prompt and suite; `full`: keys that have their share.

        Raises `MustRun` where nothing can be run and something must be, `InvalidExchange`, and what running raises.
        """
        made = Made()
        gathered = _gather(entry, full, made)
        if gathered is None:
            made.why = "its key has its share"
            return made
        try:
            group = await self._group(gathered, made)
            made.taken = taken(group)
            made.group, made.line = (None, to_line(group)) if self._lines else (group, None)
        except _LeftOut as why:
            made.why = str(why)
        except (FaultySuite, UnsupportedLanguage):
            made.why = "its suite cannot be run"
        except InvalidExchange as error:
            raise InvalidExchange(f"exchange {min(gathered.exchanges)}: {error}") from error
        return made

    async def _group(self, gathered: Gathered, made: Made) -> Group:
        if self._contamination is not None:
            made.suite_held = self._contamination.suite_of(gathered.prompt)
            if made.suite_held is not None:
                raise _LeftOut
        task = task_from_data(gathered.prompt_hash, gathered.prompt, gathered.task)
        if gathered.suite is not None and gathered.suite["form"] == "stdio":
            task = replace(task, whole=True)
        made.taught = self._teachers.places(gathered.prompt_hash, gathered.exchanges)
        self._teach(gathered, task, made.taught)
        if not self._may_differ(gathered):  # before anything is parsed: most prompts end here
            raise _LeftOut("no contrast")
        if (
            self._runs is None
            and gathered.suite is not None
            and any(not each.classes for each in gathered.kept.values())
        ):
            raise MustRun
        kept = await distinct(gathered, task)
        stable = [each for each in kept if len(each.classes) <= 1]
        some = drawn(stable, self.settings.max_per_class)
        await self._complete(some, task, gathered.suite)
        good = without_worse_teachers(some)
        chosen = drawn(good, self.settings.max_per_class)  # again: by the classes that are known by now
        made.notes["judged one way and another"] += len(kept) - len(stable)
        made.notes["a teacher below the student"] += len(some) - len(good)
        made.notes["more of its class than are taken"] += len(stable) - len(some) + len(good) - len(chosen)
        return self._grouped(gathered, [each.scored(each.score(self.settings.teacher_bump)) for each in chosen], made)

    def _teach(self, gathered: Gathered, task: Task, places: list[int]) -> None:
        for solution in (self._teachers.solutions[each] for each in places):
            text = redact(solution.completion)
            if gathered.suite is not None and task.shape != "chat":
                text = extract(task, text).text
            response = Response(
                text=text,
                ended=True,
                program_class=None,
                fraction=None,
                score=None,
                source="teacher",
                model=solution.model,
            )
            gathered.put(Kept.of(response))

    def _may_differ(self, gathered: Gathered) -> bool:
        if gathered.suite is not None and any(not kept.classes for kept in gathered.kept.values()):
            return True
        scores = set()
        for kept in gathered.kept.values():
            if (score := kept.score(self.settings.teacher_bump)) is not None:
                scores.add(score)
            if len(scores) > self.settings.contrast:
                return True
        return False

    async def _complete(self, kept: list[Kept], task: Task, data: dict[str, Any] | None) -> None:
        """Run what was not run."""
        todo = [each for each in kept if not each.classes]
        if todo and data is not None:
            suite = suite_from_data(data)
            await each_of(lambda each: self._judge(each, task, suite, data["hash"]), todo)

    async def _judge(self, kept: Kept, task: Task, suite: Suite, suite_hash: str) -> None:
        """What is learnt of a completion is what was tested, so it is cut as it was."""
        response = kept.response
        size = len(task.prefix) + len(response.text) + len(task.suffix)
        extracted = await off_loop(extract, task, response.text, size=size)
        if self._runs is None:
            raise MustRun
        verdict = await self._runs.verdict(extracted.program, suite, suite_hash)
        if verdict.program_class is not None:
            kept.classes, kept.fractions = {verdict.program_class}, {verdict.fraction or 0.0}
        if task.shape != "chat":
            cut = extracted.text.rstrip() != response.text.rstrip()
            kept.response = replace(response, text=extracted.text, ended=response.ended or cut)

    def _grouped(self, gathered: Gathered, responses: list[Response], made: Made) -> Group:
        known = [(response.score, response) for response in responses if response.score is not None]
        made.notes["nothing is known of it"] += len(responses) - len(known)
        scores = {score for score, _ in known}
        if len(scores) < (2 if self.settings.contrast else 1):
            raise _LeftOut("no contrast")
        known.sort(key=lambda pair: (-pair[0], provenance(pair[1])))
        return Group(
            prompt=gathered.prompt,
            prompt_hash=gathered.prompt_hash,
            split=split_of(gathered.prompt_hash, self.settings.held_out_share),
            task=gathered.task,
            suite=gathered.suite,
            key_id=gathered.key_id,
            responses=tuple(response for _, response in known),
        )


def _gather(entry: Iterable[bytes], full: Collection[str], made: Made) -> Gathered | None:
    gathered = None
    for record in entry:
        draft = from_bytes(record)
        if draft.key_id in full:
            made.over += 1
            continue
        gathered = gathered or Gathered(draft)
        gathered.add(draft)
    if gathered is not None:
        made.keys, made.twice = gathered.keys, gathered.twice
    return gathered


def without_worse_teachers(kept: list[Kept]) -> list[Kept]:
    """RRTF's filter: no teacher whose class is below the best student's (r_tea < r_stu, arXiv 2307.14936, 3.2)."""
    if all(each.response.source != "teacher" for each in kept):
        return kept
    best = max((_place(each) for each in kept if each.response.source == "student"), default=-1)
    return [each for each in kept if each.response.source != "teacher" or _place(each) >= best]


def _place(kept: Kept) -> int:
    return -1 if kept.program_class is None else place(kept.program_class)


async def each_of(function: Callable[[T], Awaitable[U]], items: Sequence[T]) -> list[U]:
    """What `function` makes of each; the first error ends the others."""
    running = [asyncio.ensure_future(function(item)) for item in items]
    try:
        return await asyncio.gather(*running)
    finally:
        for one in running:
            one.cancel()
        await asyncio.gather(*running, return_exceptions=True)
