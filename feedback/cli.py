"""`touchstone feedback`: look at the log, export it, check it. Heavy imports wait for the command that needs them."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeVar

import typer

from feedback.types import Purpose

if TYPE_CHECKING:
    from feedback.deleting import Gone
    from feedback.rescore import Tally
    from feedback.sql.merge import Merged
    from feedback.sql.stats import Stats
    from feedback.sql.store import SqlStore

T = TypeVar("T")
MOST_DAYS = 36_500
"""A century, which a date can still be reckoned back by."""

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="The log: every exchange, every candidate, what people said of them.",
)

StateDir = Annotated[
    Path | None,
    typer.Option(help="The state folder; its touchstone.db is read.", show_default="the user's data folder"),
]
OutboxDir = Annotated[
    Path | None,
    typer.Option(
        help="The state folder: of its touchstone.db, or beside --database, and of its outbox.db.",
        show_default="the user's data folder",
    ),
]
Database = Annotated[str | None, typer.Option(metavar="URL", help="A database elsewhere, instead of --state-dir.")]


class PurposeOption(StrEnum):
    """`feedback.Purpose` for the command line."""

    TRAFFIC = "traffic"
    EVAL = "eval"
    TRAIN = "train"


@app.command()
def stats(
    state_dir: StateDir = None,
    database: Database = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Count exchanges by purpose, status and method, signals by type and source, and what reranking rescued."""
    from feedback.sql.stats import stats as count

    counted = _with_store(state_dir, database, lambda store: store.read(count))
    if as_json:
        typer.echo(json.dumps(counted.to_data()))
    else:
        _print_stats(counted)


class Form(StrEnum):
    """What an export is written as."""

    JSONL = "jsonl"
    PARQUET = "parquet"
    PREFERENCE = "preference"
    UNPAIRED = "unpaired"


@app.command()
def export(
    out: Annotated[Path, typer.Option(help="The file to write; .gz compresses it.")],
    form: Annotated[
        Form,
        typer.Option(
            "--format",
            help="jsonl: all that is known, a line an exchange. parquet: the same as a table. preference, unpaired: "
            "JSON lines for TRL's trainers, of traffic that may be trained on unless --purpose says another.",
        ),
    ] = Form.JSONL,
    since: Annotated[datetime | None, typer.Option(help="Only exchanges from this time on (UTC).")] = None,
    purpose: Annotated[PurposeOption | None, typer.Option(help="Only exchanges of this purpose.")] = None,
    state_dir: StateDir = None,
    database: Database = None,
) -> None:
    """Write exchanges with their signals to a file. It is replaced only once it is complete."""
    from feedback.export import write_lines
    from feedback.lossless import dumps
    from feedback.parquet import write_parquet
    from feedback.preferences import records

    first = None if since is None else since.replace(tzinfo=since.tzinfo or UTC)
    which: Purpose | None = None if purpose is None else purpose.value
    if form is Form.PARQUET and out.suffix == ".gz":
        raise typer.BadParameter("parquet is compressed by itself; name a file without .gz", param_hint="--out")
    left_out: Counter[str] = Counter()

    async def write(store: SqlStore) -> int:
        total = await store.count(since=first, purpose=which)
        with _progress("exporting", total) as advance:
            if form is Form.JSONL:
                return await write_lines(store.lines(since=first, purpose=which), out, on_line=advance)
            if form is Form.PARQUET:
                return await write_parquet(store.exchanges(since=first, purpose=which), out, advance)
            log = store.exchanges(since=first, purpose=which or "traffic")
            kind: Literal["preference", "unpaired"] = "preference" if form is Form.PREFERENCE else "unpaired"
            return await write_lines((dumps(each) async for each in records(log, kind, left_out, advance)), out)

    lines = _with_store(state_dir, database, write)
    typer.echo(f"{lines} {'exchanges' if form in (Form.JSONL, Form.PARQUET) else 'records'} in {out}")
    for reason, count in left_out.most_common():
        typer.echo(f"{count} exchanges left out: {_visible(reason)}")


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="What `export --format jsonl` wrote.", exists=True, dir_okay=False)],
    redact: Annotated[bool, typer.Option(help="Replace secrets that are still in it.")] = True,
    state_dir: StateDir = None,
    database: Database = None,
) -> None:
    """Put an export into a log, ids kept; the database is made if it is not there. What is there already stays."""
    from feedback.importing import import_log

    async def read(store: SqlStore) -> Merged:
        with _progress("importing", None) as advance:
            return await import_log(store, file, redact=redact, on_exchange=advance)

    done = _with_store(state_dir, database, read, create=True)
    typer.echo(f"{done.exchanges} exchanges and {done.signals} signals added")
    typer.echo(f"{done.known_exchanges} exchanges and {done.known_signals} signals were there already")


@app.command()
def rescore(
    out: Annotated[Path, typer.Option(help="The file to write, a line an exchange and method; .gz compresses it.")],
    method: Annotated[list[str], typer.Option(help="How to rank; may be given several times.")],
    since: Annotated[datetime | None, typer.Option(help="Only exchanges from this time on (UTC).")] = None,
    purpose: Annotated[PurposeOption | None, typer.Option(help="Only exchanges of this purpose.")] = None,
    state_dir: StateDir = None,
    database: Database = None,
) -> None:
    """Rank the logged candidates anew by what was seen of them then; nothing is run again."""
    from feedback.rescore import check_methods, write_rescored
    from reranker import RerankError

    first = None if since is None else since.replace(tzinfo=since.tzinfo or UTC)
    which: Purpose | None = None if purpose is None else purpose.value
    try:
        check_methods(method)
    except RerankError as error:
        raise typer.BadParameter(str(error), param_hint="--method") from error

    async def write(store: SqlStore) -> list[Tally]:
        total = await store.count(since=first, purpose=which)
        with _progress("rescoring", total) as advance:
            return await write_rescored(store.exchanges(since=first, purpose=which), method, out, advance)

    _print_tallies(_with_store(state_dir, database, write), out)


@app.command()
def verify(state_dir: StateDir = None, database: Database = None) -> None:
    """Derive every hash again and check every reference. Names each problem and exits with 1 where there is one."""
    from feedback.verify import problems

    async def check(store: SqlStore) -> int:
        found = 0
        with _progress("verifying", await store.count()) as advance:
            async for problem in problems(store, advance):
                typer.echo(_visible(problem))
                found += 1
        return found

    if found := _with_store(state_dir, database, check):
        typer.echo(f"{found} problems", err=True)
        raise typer.Exit(1)
    typer.echo("the log is sound")


@app.command()
def prune(
    keep_days: Annotated[int, typer.Option(min=1, max=MOST_DAYS, help="Exchanges older than this are deleted.")],
    state_dir: OutboxDir = None,
    database: Database = None,
) -> None:
    """Delete exchanges older than some days, with their candidates and signals. It cannot be undone."""
    before = datetime.now(UTC) - timedelta(days=keep_days)
    gone = _delete(lambda store: store.delete(before=before), state_dir, database)
    typer.echo(f"{_exchanges_of(gone)}, from before {before:%Y-%m-%d %H:%M} UTC")


@app.command()
def delete(
    exchange_id: Annotated[str | None, typer.Option("--id", help="The exchange of this id.")] = None,
    key_id: Annotated[str | None, typer.Option("--key", help="Every exchange and stored suite of this key.")] = None,
    state_dir: OutboxDir = None,
    database: Database = None,
) -> None:
    """Delete one exchange, or all of a key, with their candidates and signals. It cannot be undone."""
    if (exchange_id is None) == (key_id is None):
        raise typer.BadParameter("give one of --id and --key", param_hint="--id")
    gone = _delete(
        lambda store: store.delete(exchange_id=exchange_id, key_id=key_id), state_dir, database, suites_of=key_id
    )
    typer.echo(_exchanges_of(gone) + ("" if key_id is None else f", {gone.suites} stored suites"))
    if not gone.exchanges and exchange_id is not None:
        raise typer.Exit(1)


def _delete(
    which: Callable[[SqlStore], Awaitable[int]],
    state_dir: Path | None,
    database: str | None,
    *,
    suites_of: str | None = None,
) -> Gone:
    """Delete from the log and from the outbox of the state folder; say where an outbox might be that was not seen."""
    from feedback.deleting import delete_for_good

    with _told():
        elsewhere = database is not None and _is_file(database)
        if elsewhere and state_dir is not None:
            raise typer.BadParameter("give --state-dir or --database, not both", param_hint="--state-dir")
        outbox = None if elsewhere else _file_in(state_dir, "outbox.db")
        log = database or _file_in(state_dir, "touchstone.db")
        gone = asyncio.run(delete_for_good(which, log, outbox, suites_of=suites_of))
        if database is not None and outbox is not None and gone.waited is None:
            typer.echo(f"no outbox at {outbox}: that of a server elsewhere is not looked into (--state-dir)", err=True)
        return gone


def _is_file(database: str) -> bool:
    from feedback.sql.seam import translated
    from feedback.sql.sqlite import file_of

    with translated():
        return file_of(database) is not None


def _exchanges_of(gone: Gone) -> str:
    waited = f" ({gone.waited} of them from the outbox)" if gone.waited else ""
    return f"{gone.exchanges} exchanges deleted{waited}"


def _with_store(
    state_dir: Path | None, database: str | None, use: Callable[[SqlStore], Awaitable[T]], *, create: bool = False
) -> T:
    """Open the log that the options name, use it, close it."""
    from feedback.sql.store import SqlStore

    if state_dir is not None and database is not None:
        raise typer.BadParameter("give --state-dir or --database, not both")

    async def run() -> T:
        store = SqlStore.open(database or _file_in(state_dir, "touchstone.db"), create=create)
        try:
            return await use(store)
        finally:
            await store.aclose()

    with _told():
        return asyncio.run(run())


@contextmanager
def _told() -> Iterator[None]:
    """Our errors become one line and exit code 1."""
    from feedback.errors import FeedbackError

    try:
        yield
    except (FeedbackError, OSError) as error:
        typer.echo(_visible(f"touchstone feedback: {error}"), err=True)
        raise typer.Exit(1) from error


def _file_in(state_dir: Path | None, name: str) -> Path:
    from platformdirs import user_data_dir

    return (state_dir or Path(user_data_dir("touchstone", appauthor=False))) / name


@contextmanager
def _progress(what: str, total: int | None) -> Iterator[Callable[[], None]]:
    """A bar on standard error, where that is a terminal."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, disable=not console.is_terminal, transient=True) as progress:
        bar = progress.add_task(what, total=total)
        yield lambda: progress.advance(bar)


def _print_stats(counted: Stats) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    rate = counted.gain.rescue_rate
    rows: list[tuple[str, str, str]] = [
        ("exchanges", "", str(counted.exchanges)),
        ("candidates", "", str(counted.candidates)),
        *(("purpose", name, str(count)) for name, count in counted.by_purpose.items()),
        *(("status", name, str(count)) for name, count in counted.by_status.items()),
        *(("method", name, str(count)) for name, count in counted.by_method.items()),
        *(("signals", f"{kind} from {source}", str(count)) for kind, source, count in counted.signals),
        ("judged", "the first candidate passed", str(counted.gain.first_ok)),
        ("judged", "rescued by reranking", str(counted.gain.rescued)),
        ("judged", "the one returned failed", str(counted.gain.none_ok)),
        ("rescue rate", "", "-" if rate is None else f"{rate:.1%}"),
    ]
    table = Table("what", "which", "count")
    for what, which, count in rows:
        table.add_row(what, Text(_visible(which)), count)
    Console().print(table)


def _print_tallies(tallies: list[Tally], out: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("method", "ranked", "nothing to go by", "another first choice", "accepted now first", "of accepted")
    for tally in tallies:
        row = (tally.ranked, tally.unscored, tally.changed, tally.accepted_first, tally.accepted)
        table.add_row(tally.method, *map(str, row))
    Console().print(table)
    typer.echo(f"rankings in {out}")


def _visible(text: str) -> str:
    """One line for a terminal: what the log holds may be control characters or lone surrogates."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
