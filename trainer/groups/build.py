"""Groups out of the log: `groups_from` is the story.

Two passes, so that memory does not grow with the log. The first leaves out what may not be trained on and brings the
rest together on disk, by prompt and suite. The second takes one prompt after the other in the order of its hash, which
is as good as a shuffled one and the same every time: what users and the log left open is run in the sandbox, equal
programs become one, and what is left is scored.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from feedback import InvalidExchange, Logged, suite_from_data, task_from_data
from reranker import Task, extract, off_loop
from sandbox import Sandbox, Suite, UnsupportedLanguage
from trainer.groups.contaminated import Contamination
from trainer.groups.draft import Draft, draft_of, from_bytes, to_bytes
from trainer.groups.gather import Gathered, Kept, distinct, drawn, provenance
from trainer.groups.ladder import place, score_of
from trainer.groups.redact import redact
from trainer.groups.runs import FaultySuite, Runs
from trainer.groups.settings import LOCAL, Settings
from trainer.groups.split import split_of
from trainer.groups.spool import Entry, Spool
from trainer.groups.tally import Tally
from trainer.groups.teachers import Teachers
from trainer.groups.types import Group, Response

BATCH = 32
"""Prompts in work at a time, so that the sandbox has something to do while others are parsed."""

T = TypeVar("T")
U = TypeVar("U")

_ENCODE = json.JSONEncoder(sort_keys=True).encode

Told = Callable[[str, int, int | None], None]
"""Told of progress: what is done (`reading` and `grouping` exchanges, `running` programs), how many, and of how many
(None: not known)."""


async def groups_from(
    log: AsyncIterator[Logged],
    settings: Settings,
    *,
    tally: Tally,
    scratch: Path,
    sandbox: Sandbox | None = None,
    runs_file: Path | None = None,
    teachers: Teachers | None = None,
    contamination: Contamination | None = None,
    told: Told = lambda what, done, total: None,
) -> AsyncIterator[Group]:
    """The groups of a log, in the order of their prompts' hashes; `tally` counts as they come.

    `scratch` is a folder on a disk with room for the log's text (nothing stays there). `runs_file` keeps what was run,
    so that a killed run goes on. Raises `BadGroups`, `InvalidExchange`, what the log raises, and `SandboxError`: where
    something must be run, a sandbox that is absent or broken is an error, never a negative.
    """
    runs = Runs(
        sandbox,
        settings.limits,
        at_once=settings.at_once,
        file=runs_file,
        told=lambda: told("running", runs.ran, None),
    )
    with Spool(scratch) as spool:
        async for logged in log:
            tally.read += 1
            draft = draft_of(logged, settings, tally.responses)
            if isinstance(draft, Draft):
                spool.add(_key(draft), to_bytes(draft))
            else:
                tally.left_out[draft] += 1
            told("reading", tally.read, None)
        maker = _Maker(settings, runs, teachers or Teachers(), contamination)
        done = 0
        async for records, made in maker.made_of(iter(spool)):
            done += records
            told("grouping", done, spool.records)
            _count(tally, made)
            tally.ran = runs.ran
            if made.group is not None:
                yield made.group
    if teachers is not None:
        tally.responses["solutions for no prompt that was taken"] += len(teachers.solutions) - len(teachers.used)


@dataclass(slots=True)
class _Made:
    """What became of one prompt and suite."""

    group: Group | None = None
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


class _LeftOut(Exception):
    """No group comes of this prompt; says why."""


class _Maker:
    """Makes groups of what is on disk, several at a time, and keeps each key to its share."""

    def __init__(self, settings: Settings, runs: Runs, teachers: Teachers, contamination: Contamination | None) -> None:
        self._settings, self._runs, self._teachers, self._contamination = settings, runs, teachers, contamination
        self._shares: Counter[str] = Counter()
        self._full: set[str] = set()

    async def made_of(self, entries: Iterator[Entry]) -> AsyncIterator[tuple[int, _Made]]:
        """For each entry the number of its records, and what was made of it."""
        again: list[Entry] = []
        while batch := [*again, *islice(entries, BATCH - len(again))]:
            again = []
            for entry, made in zip(batch, await _all(self._make, batch), strict=True):
                if made.group is not None and made.keys & self._full:
                    again.append(entry)  # a key got its share from an earlier one of this batch: without that key, then
                    continue
                if made.group is not None:
                    self._took(made.keys)
                yield len(entry), made

    def _took(self, keys: set[str]) -> None:
        self._shares.update(keys)
        most = self._settings.max_groups_per_key
        self._full |= {key for key in keys if most is not None and self._shares[key] >= most}

    async def _make(self, entry: Entry) -> _Made:
        made = _Made()
        gathered = self._gather(entry, made)
        if gathered is None:
            made.why = "its key has its share"
            return made
        try:
            made.group = await self._group(gathered, made)
        except _LeftOut as why:
            made.why = str(why)
        except (FaultySuite, UnsupportedLanguage):
            made.why = "its suite cannot be run"
        except InvalidExchange as error:
            raise InvalidExchange(f"exchange {min(gathered.exchanges)}: {error}") from error
        return made

    def _gather(self, entry: Entry, made: _Made) -> Gathered | None:
        gathered = None
        for line in entry:
            draft = from_bytes(line)
            if draft.key_id in self._full:
                made.over += 1
                continue
            gathered = gathered or Gathered(draft)
            gathered.add(draft)
        if gathered is not None:
            made.keys, made.twice = gathered.keys, gathered.twice
        return gathered

    async def _group(self, gathered: Gathered, made: _Made) -> Group:
        if self._contamination is not None:
            made.suite_held = self._contamination.suite_of(gathered.prompt)
            if made.suite_held is not None:
                raise _LeftOut
        task = task_from_data(gathered.prompt_hash, gathered.prompt, gathered.task)
        task = replace(task, whole=gathered.suite is not None and gathered.suite["form"] == "stdio")
        self._teach(gathered, task)
        if not self._may_differ(gathered):  # before anything is parsed: most prompts end here
            raise _LeftOut("no contrast")
        kept = await distinct(gathered, task)
        stable = [each for each in kept if len(each.classes) <= 1]
        some = drawn(stable, self._settings.max_per_class)
        await self._complete(some, task, gathered.suite)
        good = without_worse_teachers(some)
        chosen = drawn(good, self._settings.max_per_class)  # again: by the classes that are known by now
        made.notes["judged one way and another"] += len(kept) - len(stable)
        made.notes["a teacher below the student"] += len(some) - len(good)
        made.notes["more of its class than are taken"] += len(stable) - len(some) + len(good) - len(chosen)
        return self._grouped(gathered, [each.scored(self._score(each)) for each in chosen], made)

    def _teach(self, gathered: Gathered, task: Task) -> None:
        for solution in self._teachers.of(gathered.prompt_hash, gathered.exchanges):
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
            if (score := self._score(kept)) is not None:
                scores.add(score)
            if len(scores) > self._settings.contrast:
                return True
        return False

    async def _complete(self, kept: list[Kept], task: Task, data: dict[str, Any] | None) -> None:
        """Run what was not run."""
        todo = [each for each in kept if not each.classes]
        if todo and data is not None:
            suite = suite_from_data(data)
            await _all(lambda each: self._judge(each, task, suite, data["hash"]), todo)

    async def _judge(self, kept: Kept, task: Task, suite: Suite, suite_hash: str) -> None:
        """What is learnt of a completion is what was tested, so it is cut as it was."""
        response = kept.response
        size = len(task.prefix) + len(response.text) + len(task.suffix)
        extracted = await off_loop(extract, task, response.text, size=size)
        verdict = await self._runs.verdict(extracted.program, suite, suite_hash)
        if verdict.program_class is not None:
            kept.classes, kept.fractions = {verdict.program_class}, {verdict.fraction or 0.0}
        if task.shape != "chat":
            cut = extracted.text.rstrip() != response.text.rstrip()
            kept.response = replace(response, text=extracted.text, ended=response.ended or cut)

    def _score(self, kept: Kept) -> float | None:
        return score_of(
            kept.program_class,
            kept.fraction,
            source=kept.response.source,
            said=kept.word,
            words=kept.words,
            bump=self._settings.teacher_bump,
        )

    def _grouped(self, gathered: Gathered, responses: list[Response], made: _Made) -> Group:
        known = [(response.score, response) for response in responses if response.score is not None]
        made.notes["nothing is known of it"] += len(responses) - len(known)
        scores = {score for score, _ in known}
        if len(scores) < (2 if self._settings.contrast else 1):
            raise _LeftOut("no contrast")
        known.sort(key=lambda pair: (-pair[0], provenance(pair[1])))
        return Group(
            prompt=gathered.prompt,
            prompt_hash=gathered.prompt_hash,
            split=split_of(gathered.prompt_hash, self._settings.held_out_share),
            task=gathered.task,
            suite=gathered.suite,
            key_id=gathered.key_id,
            responses=tuple(response for _, response in known),
        )


def without_worse_teachers(kept: list[Kept]) -> list[Kept]:
    """RRTF's filter: no teacher whose class is below the best student's (r_tea < r_stu, arXiv 2307.14936, 3.2)."""
    best = max((_place(each) for each in kept if each.response.source == "student"), default=-1)
    return [each for each in kept if each.response.source != "teacher" or _place(each) >= best]


def _place(kept: Kept) -> int:
    return -1 if kept.program_class is None else place(kept.program_class)


async def _all(function: Callable[[T], Awaitable[U]], items: Sequence[T]) -> list[U]:
    """What `function` makes of each; the first error ends the others."""
    running = [asyncio.ensure_future(function(item)) for item in items]
    try:
        return await asyncio.gather(*running)
    finally:
        for one in running:
            one.cancel()
        await asyncio.gather(*running, return_exceptions=True)


def _key(draft: Draft) -> bytes:
    """Sixteen bytes: eight of the prompt, so that its suites follow one another, and eight of suite and task.

    The task belongs to it: the same text asked for another function is another program.
    """
    rest = _ENCODE([draft.suite and draft.suite["hash"], draft.task])
    return _eight(draft.prompt_hash) + _eight(rest)


def _eight(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()


def _count(tally: Tally, made: _Made) -> None:
    tally.left_out["its key has its share"] += made.over
    tally.left_out["read twice"] += made.twice
    tally.responses.update(made.notes)
    if made.suite_held is not None:
        tally.contaminated[made.suite_held] += 1
    elif made.group is None:
        tally.prompts[made.why] += 1
    else:
        tally.took(made.group)
        tally.keys.update(made.keys or {LOCAL})
