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

from feedback.stored_suites import NOBODY
from feedback.types import LOCAL, Purpose

if TYPE_CHECKING:
    from feedback.deleting import Gone
    from feedback.rescore import Tally
    from feedback.sql.merge import Merged
    from feedback.sql.stats import Stats
    from feedback.sql.store import SqlStore
    from feedback.where import Where

T = TypeVar("T")
MOST_DAYS = 36_500
"""A century, which a date can still be reckoned back by."""

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="The log: every exchange, every candidate, what people said of them.",
)

_AS_SERVED = "as `touchstone serve` finds it here"
StateDir = Annotated[
    Path | None,
    typer.Option(help="The state folder; its touchstone.db is read.", show_default=_AS_SERVED),
]
OutboxDir = Annotated[
    Path | None,
    typer.Option(
        help="The state folder: of its touchstone.db, or beside --database, and of its outbox.db.",
        show_default=_AS_SERVED,
    ),
]
Database = Annotated[str | None, typer.Option(metavar="URL", help="A database elsewhere, instead of --state-dir.")]
ConfigFile = Annotated[
    Path | None, typer.Option("--config", help="Configuration file; ./touchstone.toml if it is there.")
]


class PurposeOption(StrEnum):
    """`feedback.Purpose` for the command line."""

    TRAFFIC = "traffic"
    EVAL = "eval"
    TRAIN = "train"


@app.command()
def stats(
    state_dir: StateDir = None,
    database: Database = None,
    config: ConfigFile = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Count exchanges by purpose, status and method, signals by type and source, and what reranking rescued."""
    from feedback.sql.stats import stats as count

    where = _where(state_dir, database, config)
    counted = _with_store(where, lambda store: store.read(count))
    if as_json:
        typer.echo(json.dumps(counted.to_data()))
    else:
        _print_stats(counted, where)


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
    config: ConfigFile = None,
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

    where = _where(state_dir, database, config)
    lines = _with_store(where, write)
    typer.echo(f"{lines} {'exchanges' if form in (Form.JSONL, Form.PARQUET) else 'records'} of {where} in {out}")
    for reason, count in left_out.most_common():
        typer.echo(f"{count} exchanges left out: {_visible(reason)}")


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="What `export --format jsonl` wrote.", exists=True, dir_okay=False)],
    redact: Annotated[bool, typer.Option(help="Replace secrets that are still in it.")] = True,
    state_dir: StateDir = None,
    database: Database = None,
    config: ConfigFile = None,
) -> None:
    """Put an export into a log, ids kept; the database is made if it is not there. What is there already stays."""
    from feedback.importing import import_log

    async def read(store: SqlStore) -> Merged:
        with _progress("importing", None) as advance:
            return await import_log(store, file, redact=redact, on_exchange=advance)

    where = _where(state_dir, database, config)
    done = _with_store(where, read, create=True)
    typer.echo(f"{done.exchanges} exchanges and {done.signals} signals added to {where}")
    typer.echo(f"{done.known_exchanges} exchanges and {done.known_signals} signals were there already")


@app.command()
def rescore(
    out: Annotated[Path, typer.Option(help="The file to write, a line an exchange and method; .gz compresses it.")],
    method: Annotated[list[str], typer.Option(help="How to rank; may be given several times.")],
    since: Annotated[datetime | None, typer.Option(help="Only exchanges from this time on (UTC).")] = None,
    purpose: Annotated[PurposeOption | None, typer.Option(help="Only exchanges of this purpose.")] = None,
    state_dir: StateDir = None,
    database: Database = None,
    config: ConfigFile = None,
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

    _print_tallies(_with_store(_where(state_dir, database, config), write), out)


@app.command()
def verify(state_dir: StateDir = None, database: Database = None, config: ConfigFile = None) -> None:
    """Derive every hash again and check every reference. Names each problem and exits with 1 where there is one."""
    from feedback.verify import problems

    async def check(store: SqlStore) -> int:
        found = 0
        with _progress("verifying", await store.count()) as advance:
            async for problem in problems(store, advance):
                typer.echo(_visible(problem))
                found += 1
        return found

    where = _where(state_dir, database, config)
    if found := _with_store(where, check):
        typer.echo(f"{found} problems in {where}", err=True)
        raise typer.Exit(1)
    typer.echo(f"the log {where} is sound")


@app.command()
def prune(
    keep_days: Annotated[int, typer.Option(min=1, max=MOST_DAYS, help="Exchanges older than this are deleted.")],
    state_dir: OutboxDir = None,
    database: Database = None,
    config: ConfigFile = None,
) -> None:
    """Delete exchanges older than some days, with their candidates and signals. It cannot be undone."""
    before = datetime.now(UTC) - timedelta(days=keep_days)
    where = _where(state_dir, database, config, beside=True)
    gone = _delete(lambda store: store.delete(before=before), where)
    typer.echo(f"{_exchanges_of(gone, where)}, from before {before:%Y-%m-%d %H:%M} UTC")


@app.command()
def delete(
    exchange_id: Annotated[str | None, typer.Option("--id", help="The exchange of this id.")] = None,
    key_id: Annotated[
        str | None,
        typer.Option(
            "--key", metavar="ID", help="Every exchange and stored suite of the key of this id ('local': of no key)."
        ),
    ] = None,
    state_dir: OutboxDir = None,
    database: Database = None,
    config: ConfigFile = None,
) -> None:
    """Delete one exchange, or all of a key, with their candidates and signals. It cannot be undone."""
    if (exchange_id is None) == (key_id is None):
        raise typer.BadParameter("give one of --id and --key", param_hint="--id")
    where = _where(state_dir, database, config, beside=True)
    gone = _delete(
        lambda store: store.delete(exchange_id=exchange_id, key_id=key_id),
        where,
        suites_of=NOBODY if key_id == LOCAL else key_id,
    )
    typer.echo(_exchanges_of(gone, where) + ("" if key_id is None else f", {gone.suites} stored suites"))
    if not gone.exchanges and not gone.suites:
        if key_id is not None:
            typer.echo(f"nothing was logged of a key of the id {_visible(key_id)} (touchstone keys list)", err=True)
        raise typer.Exit(1)


def _delete(which: Callable[[SqlStore], Awaitable[int]], where: Where, *, suites_of: str | None = None) -> Gone:
    """Delete from the log and from the outbox of the state folder; say where an outbox might be that was not seen."""
    from feedback.deleting import delete_for_good

    with _told():
        outbox = None if isinstance(where.log, str) and _is_file(where.log) else where.state_dir / "outbox.db"
        gone = asyncio.run(delete_for_good(which, where.log, outbox, suites_of=suites_of))
        if isinstance(where.log, str) and outbox is not None and gone.waited is None:
            typer.echo(f"no outbox at {outbox}: that of a server elsewhere is not looked into (--state-dir)", err=True)
        return gone


def _is_file(database: str) -> bool:
    from feedback.sql.seam import translated
    from feedback.sql.sqlite import file_of

    with translated():
        return file_of(database) is not None


def _exchanges_of(gone: Gone, where: Where) -> str:
    waited = f" ({gone.waited} of them from the outbox)" if gone.waited else ""
    return f"{gone.exchanges} exchanges deleted from {_visible(str(where))}{waited}"


def _where(state_dir: Path | None, database: str | None, config: Path | None, *, beside: bool = False) -> Where:
    """The log that the options name; `beside`: a state folder may be named beside a database that is a server's."""
    from feedback.where import find_log

    with _told():
        if None not in (state_dir, database) and not (beside and not _is_file(database or "")):
            raise typer.BadParameter("give --state-dir or --database, not both", param_hint="--state-dir")
        return find_log(database, state_dir, config)


def _with_store(where: Where, use: Callable[[SqlStore], Awaitable[T]], *, create: bool = False) -> T:
    """Open a log, use it, close it."""
    from feedback.sql.store import SqlStore

    async def run() -> T:
        store = SqlStore.open(where.log, create=create)
        try:
            return await use(store)
        finally:
            await store.aclose()

    with _told():
        return asyncio.run(run())


@contextmanager
def _told() -> Iterator[None]:
    """Our errors become one line and exit code 1."""
    from engine import BadSettings
    from feedback.errors import FeedbackError

    try:
        yield
    except (BadSettings, FeedbackError, OSError) as error:
        typer.echo(_visible(f"touchstone feedback: {error}"), err=True)
        raise typer.Exit(1) from error


@contextmanager
def _progress(what: str, total: int | None) -> Iterator[Callable[[], None]]:
    """A bar on standard error, where that is a terminal."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, disable=not console.is_terminal, transient=True) as progress:
        bar = progress.add_task(what, total=total)
        yield lambda: progress.advance(bar)


def _print_stats(counted: Stats, where: Where) -> None:
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
    table = Table("what", "which", "count", caption=_visible(str(where)))
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
