"""Groups out of the log: `groups_from` is the story.

Two passes, so that memory does not grow with the log. The first leaves out what may not be trained on and brings the
rest together on disk, by prompt and suite. The second takes one prompt after the other in the order of its hash, which
is as good as a shuffled one and the same every time: what users and the log left open is run in the sandbox, equal
programs become one, and what is left is scored.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from feedback import LOCAL, Logged
from sandbox import Sandbox
from trainer.groups.batches import Batches
from trainer.groups.contaminated import Contamination
from trainer.groups.crew import Crew
from trainer.groups.making import Made, Maker
from trainer.groups.reading import Lines, drafted
from trainer.groups.runs import Runs
from trainer.groups.settings import Settings
from trainer.groups.spool import Spool
from trainer.groups.tally import Tally
from trainer.groups.teachers import Teachers
from trainer.groups.types import Group

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
    asked = _Asked(settings, scratch, sandbox, runs_file, teachers or Teachers(), contamination, told)
    async for made in _made_of(log, asked, tally):
        if made.group is not None:
            yield made.group


async def lines_from(
    log: AsyncIterator[Lines],
    settings: Settings,
    *,
    tally: Tally,
    scratch: Path,
    sandbox: Sandbox | None = None,
    runs_file: Path | None = None,
    teachers: Teachers | None = None,
    contamination: Contamination | None = None,
    told: Told = lambda what, done, total: None,
    processes: int = 1,
) -> AsyncIterator[str]:
    """The same from lines of an export to lines of a file. So many processes share the work if the log is long."""
    asked = _Asked(settings, scratch, sandbox, runs_file, teachers or Teachers(), contamination, told, processes, True)
    async for made in _made_of(log, asked, tally):
        if made.line is not None:
            yield made.line


@dataclass(frozen=True, slots=True)
class _Asked:
    """What `groups_from` and `lines_from` are given."""

    settings: Settings
    scratch: Path
    sandbox: Sandbox | None
    runs_file: Path | None
    teachers: Teachers
    contamination: Contamination | None
    told: Told
    processes: int = 1
    lines: bool = False

    @property
    def maker(self) -> Callable[..., Maker]:
        return partial(Maker, self.settings, self.teachers, self.contamination, lines=self.lines)


async def _made_of(log: AsyncIterator[Logged | Lines], asked: _Asked, tally: Tally) -> AsyncIterator[Made]:
    told, settings = asked.told, asked.settings
    runs = Runs(
        asked.sandbox,
        settings.limits,
        at_once=settings.at_once,
        file=asked.runs_file,
        told=lambda: told("running", runs.ran, None),
    )
    with ExitStack() as stack:
        crew = stack.enter_context(Crew(asked.processes, asked.maker))
        spool = stack.enter_context(Spool(asked.scratch))
        async for some in crew.map(drafted, log):
            tally.read += some.read
            tally.left_out.update(some.left_out)
            tally.responses.update(some.notes)
            for key, record in some.records:
                spool.add(key, record)
            told("reading", tally.read, None)
        batches = Batches(asked.maker(runs=runs), settings.max_groups_per_key, crew)
        done, taught = 0, set[int]()
        async for records, made in batches.made_of(iter(spool)):
            done += records
            told("grouping", done, spool.records)
            _count(tally, made)
            tally.ran = runs.ran
            taught.update(made.taught)
            yield made
    tally.responses["solutions for no prompt that was taken"] += len(asked.teachers.solutions) - len(taught)


def _count(tally: Tally, made: Made) -> None:
    tally.left_out["its key has its share"] += made.over
    tally.left_out["read twice"] += made.twice
    tally.responses.update(made.notes)
    if made.suite_held is not None:
        tally.contaminated[made.suite_held] += 1
    elif made.taken is None:
        tally.prompts[made.why] += 1
    else:
        tally.took(made.taken)
        tally.keys.update(made.keys or {LOCAL})
