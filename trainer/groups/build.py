"""Groups out of the log: `groups_from` is the story.

Two passes, so that memory does not grow with the log. The first leaves out what may not be trained on and brings the
rest together on disk, by prompt and suite. The second takes one prompt after the other in the order of its hash, which
is as good as a shuffled one and the same every time: what users and the log left open is run in the sandbox, equal
programs become one, and what is left is scored.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from feedback import Logged
from sandbox import Sandbox
from trainer.groups.batches import Batches
from trainer.groups.contaminated import Contamination
from trainer.groups.crew import Crew
from trainer.groups.making import Made, Maker
from trainer.groups.reading import Lines, drafted
from trainer.groups.runs import Runs
from trainer.groups.settings import LOCAL, Settings
from trainer.groups.spool import Spool
from trainer.groups.tally import Tally
from trainer.groups.teachers import Teachers
from trainer.groups.types import Group

Told = Callable[[str, int, int | None], None]
"""Told of progress: what is done (`reading` and `grouping` exchanges, `running` programs), how many, and of how many
(None: not known)."""


async def groups_from(
    log: AsyncIterator[Logged] | AsyncIterator[Lines],
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
) -> AsyncIterator[Group]:
    """The groups of a log, in the order of their prompts' hashes; `tally` counts as they come.

    `scratch` is a folder on a disk with room for the log's text (nothing stays there). `runs_file` keeps what was run,
    so that a killed run goes on. Raises `BadGroups`, `InvalidExchange`, what the log raises, and `SandboxError`: where
    something must be run, a sandbox that is absent or broken is an error, never a negative. `processes` share the work
    on a log of `Lines` that is long; the groups are the same.
    """
    runs = Runs(
        sandbox,
        settings.limits,
        at_once=settings.at_once,
        file=runs_file,
        told=lambda: told("running", runs.ran, None),
    )
    teachers = teachers or Teachers()
    with ExitStack() as stack:
        crew = stack.enter_context(Crew(processes, partial(Maker, settings, teachers, contamination)))
        spool = stack.enter_context(Spool(scratch))
        async for some in crew.map(drafted, log):
            tally.read += some.read
            tally.left_out.update(some.left_out)
            tally.responses.update(some.notes)
            for key, record in some.records:
                spool.add(key, record)
            told("reading", tally.read, None)
        batches = Batches(Maker(settings, teachers, contamination, runs), settings.max_groups_per_key, crew)
        done, taught = 0, set()
        async for records, made in batches.made_of(iter(spool)):
            done += records
            told("grouping", done, spool.records)
            _count(tally, made)
            tally.ran = runs.ran
            taught.update(made.taught)
            if made.group is not None:
                yield made.group
    tally.responses["solutions for no prompt that was taken"] += len(teachers.solutions) - len(taught)


def _count(tally: Tally, made: Made) -> None:
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
