"""`touchstone train groups`: from the log to a file of groups. Imports nothing heavy until it runs."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from engine import BadSettings, available_cores
from feedback import FeedbackError, find_log, read_lines
from reranker import RerankError
from reranker.evaluation import EvaluationError, load_suite
from sandbox import LocalSandbox, SandboxError
from trainer.errors import BadGroups, TrainerError
from trainer.groups.settings import Settings

if TYPE_CHECKING:
    from trainer.groups.reading import Lines
    from trainer.groups.tally import Tally


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The command's options; None: not given."""

    out: Path
    state_dir: Path | None
    database: str | None
    config: Path | None
    log: list[Path]
    since: datetime | None
    suite: list[str]
    share: float
    teacher: list[Path]
    runs: Path | None
    held_out: float
    key: list[str]
    exclude_key: list[str]
    max_per_key: int
    max_per_class: int
    teacher_bump: float
    ratings: str | None
    unpaired: bool

    @property
    def settings(self) -> Settings:
        """Raises `BadGroups`."""
        return Settings(
            train_keys=frozenset(self.key) or None,
            exclude_keys=frozenset(self.exclude_key),
            max_groups_per_key=self.max_per_key or None,
            held_out_share=self.held_out,
            max_per_class=self.max_per_class,
            teacher_bump=self.teacher_bump,
            rating_scale=_scale(self.ratings),
            contrast=not self.unpaired,
        )


def groups(
    out: Annotated[Path, typer.Option(help="File to write (.jsonl or .jsonl.gz); replaced only once it is complete.")],
    state_dir: Annotated[
        Path | None,
        typer.Option(
            help="The state folder; its touchstone.db is read.", show_default="as `touchstone serve` finds it here"
        ),
    ] = None,
    database: Annotated[str | None, typer.Option(metavar="URL", help="A database elsewhere.")] = None,
    config: Annotated[Path | None, typer.Option(help="Configuration file; ./touchstone.toml if it is there.")] = None,
    log: Annotated[
        list[Path] | None, typer.Option(help="A file of `touchstone feedback export` instead; may be given again.")
    ] = None,
    since: Annotated[datetime | None, typer.Option(help="Only exchanges from this time on (UTC).")] = None,
    suite: Annotated[
        list[str] | None,
        typer.Option(help="Evaluation suite (name or file) whose problems are kept out; may be given again."),
    ] = None,
    share: Annotated[float, typer.Option(help="Of a problem's 13-word runs in a prompt that make it held.")] = 0.2,
    teacher: Annotated[list[Path] | None, typer.Option(help="File of teachers' solutions; may be given again.")] = None,
    runs: Annotated[
        Path | None, typer.Option(help="File of what was run, to go on with", show_default="beside --out, .runs.jsonl")
    ] = None,
    held_out: Annotated[float, typer.Option(help="Share of prompts that are held out, by hash.")] = 0.1,
    key: Annotated[list[str] | None, typer.Option(help="Train on this key only ('local': no key); again.")] = None,
    exclude_key: Annotated[list[str] | None, typer.Option(help="Never train on this key; may be given again.")] = None,
    max_per_key: Annotated[int, typer.Option(min=0, help="Groups that a key has a part in; 0: no limit.")] = 1000,
    max_per_class: Annotated[int, typer.Option(min=2, help="Responses of a class and source in a group.")] = 16,
    teacher_bump: Annotated[float, typer.Option(help="By which a teacher's score is above a student's.")] = 0.05,
    ratings: Annotated[
        str | None, typer.Option(metavar="LOW:HIGH", help="The scale of ratings; without it they are not used.")
    ] = None,
    unpaired: Annotated[bool, typer.Option("--unpaired", help="Keep prompts without contrast, e.g. for KTO.")] = False,
) -> None:
    """Make groups of the log: prompts with their judged responses, the best first."""
    given = {name: [] if value is None and name in _LISTS else value for name, value in locals().items()}
    with _told():
        _groups(Asked(**given))


_LISTS = ("log", "suite", "teacher", "key", "exclude_key")


def _groups(asked: Asked) -> None:
    _check(asked)
    tally, data_hash = asyncio.run(_work(asked, asked.settings))
    typer.echo(json.dumps({"out": str(asked.out), "hash": data_hash, **tally.to_data()}, indent=2))


def _check(asked: Asked) -> None:
    """Refuse early what would stop the end. Raises `BadGroups`, naming the option."""
    if not asked.out.name.endswith((".jsonl", ".jsonl.gz")):
        raise BadGroups(f"--out: {asked.out} must end in .jsonl or .jsonl.gz")
    if not asked.out.parent.is_dir():
        raise BadGroups(f"--out: there is no folder {asked.out.parent}")
    given = {"--state-dir": asked.state_dir, "--database": asked.database, "--log": asked.log or None}
    named = [name for name, value in given.items() if value is not None]
    if len(named) > 1:
        raise BadGroups(f"{named[1]}: give it or {named[0]}, not both; a log can be exported")
    if not 0 < asked.share <= 1:
        raise BadGroups("--share: must be above 0 and at most 1")
    for path in asked.log:
        if not path.is_file():
            raise BadGroups(f"--log: there is no file {path}")


def _scale(text: str | None) -> tuple[float, float] | None:
    if text is None:
        return None
    try:
        low, high = map(float, text.split(":"))
    except ValueError as error:
        raise BadGroups(f"--ratings: {text!r} is not two numbers, LOW:HIGH") from error
    return low, high


async def _work(asked: Asked, settings: Settings) -> tuple[Tally, str]:
    from trainer.groups import Contamination, Tally, lines_from, read_teachers, write_lines

    teachers = read_teachers(asked.teacher) if asked.teacher else None
    contamination = Contamination([load_suite(name) for name in asked.suite], asked.share) if asked.suite else None
    runs_file = asked.runs or asked.out.with_name(asked.out.name.split(".jsonl")[0] + ".runs.jsonl")
    tally = Tally()
    async with AsyncExitStack() as stack:
        sandbox = LocalSandbox()
        stack.push_async_callback(sandbox.aclose)
        told = stack.enter_context(_progress())
        made = lines_from(
            _lines(asked),
            settings,
            tally=tally,
            scratch=asked.out.parent,
            sandbox=sandbox,
            runs_file=runs_file,
            teachers=teachers,
            contamination=contamination,
            told=told,
            processes=available_cores(),
        )
        data_hash = await write_lines(made, asked.out)
    return tally, data_hash


async def _lines(asked: Asked) -> AsyncIterator[Lines]:
    from trainer.groups import LINES, Lines, logged_lines

    first = None if asked.since is None else asked.since.replace(tzinfo=asked.since.tzinfo or UTC)
    for path in asked.log:
        lines, read = read_lines(path), 0
        while some := list(islice(lines, LINES)):
            yield Lines(str(path), read + 1, some, first)
            read += len(some)
    if asked.log:
        return
    from feedback import SqlStore

    store = SqlStore.open(find_log(asked.database, asked.state_dir, asked.config).log, create=False)
    try:
        async for page in logged_lines(store, since=first):
            yield page
    finally:
        await store.aclose()


@contextmanager
def _progress() -> Iterator[Callable[[str, int, int | None], None]]:
    """A bar on standard error, where that is a terminal; else a line now and then."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("groups", total=None)
        step, last = 100 if console.is_terminal else 100_000, ("reading", 0)

        def told(what: str, done: int, total: int | None) -> None:
            nonlocal last
            if (what, done // step) == last:
                return
            last = what, done // step
            said = f"{what}: {done} {'programs' if what == 'running' else 'exchanges'}"
            if not console.is_terminal and done >= step:
                console.print(said)
            bar.update(task, completed=done, total=total, description=said)

        yield told


@contextmanager
def _told() -> Iterator[None]:
    """Errors that have a name become one line and exit status 2."""
    try:
        yield
    except (TrainerError, BadSettings, FeedbackError, RerankError, EvaluationError, SandboxError, OSError) as error:
        typer.echo(f"touchstone train: {error}", err=True)
        raise typer.Exit(2) from error


def register(app: Any) -> None:
    """Add the command to `touchstone train`."""
    app.command()(groups)
