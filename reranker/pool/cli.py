"""`touchstone rank`: rank completions that are given, and look at what ranks them best. Heavy imports wait."""

from __future__ import annotations

import asyncio
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from reranker.pool.result import Result
    from reranker.pool.work import Asked, Done

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Rank completions that are given, by every method or some, and say what each method is worth and costs.",
)
Verifier = Annotated[
    str | None, typer.Option(help="Folder or id of one, for the methods verifier and features, or discriminator.")
]
_INTERRUPTED = 130


@app.command()
def rank(
    pool: Annotated[Path, typer.Argument(help="Prompts and completions: .jsonl or .jsonl.gz; see docs/ranking.md.")],
    method: Annotated[
        list[str] | None, typer.Option(help="May be given several times; the first is the baseline; all if not given.")
    ] = None,
    problems: Annotated[
        str | None, typer.Option(help="A suite or its file: adds its prompts' examples and, for figures only, labels.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Rankings, a line each; gone on with where it is there.")] = None,
    report: Annotated[Path | None, typer.Option(help="Folder for a page that needs nothing else.")] = None,
    show: Annotated[str | None, typer.Option(help="The problem that the page shows; a mixed one if not given.")] = None,
    cache: Annotated[
        Path | None, typer.Option(help="File of outcomes, shared by runs; OUT.cache if not given.")
    ] = None,
    verifier: Verifier = None,
    folds: Annotated[int | None, typer.Option(help="Also choose b4's constants by as many folds of problems.")] = None,
    limit: Annotated[int | None, typer.Option(help="Only the first so many problems.")] = None,
    test_cpu_s: Annotated[
        float | None, typer.Option(help="CPU seconds a test may take, 1 if not given; hidden ones three times as much.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the candidates drawn for figures among fewer.")] = 0,
) -> None:
    """Rank completions that are given; nothing is sampled."""
    from reranker.evaluation.errors import InvalidSetting
    from reranker.pool.methods import ALL
    from reranker.pool.table import print_done
    from reranker.pool.work import DEFAULT_TEST_CPU_S, Asked

    with _told():
        if out is None and report is None:
            raise InvalidSetting("out", "is missing: say where the rankings go")
        if show is not None and report is None:
            raise InvalidSetting("show", "is about the page; give --report")
        written = out if out is not None else (report or Path()) / "ranking.jsonl"
        kept = cache if cache is not None else written.with_name(written.name + ".cache")
        _check_outputs(report, {"out": written, "cache": kept})
        asked = Asked(
            pool=pool,
            methods=tuple(method or [ALL]),
            problems=problems,
            out=written,
            cache=kept,
            verifier=verifier,
            limit=limit,
            test_cpu_s=DEFAULT_TEST_CPU_S if test_cpu_s is None else test_cpu_s,
            seed=seed,
            folder=report,
            folds=folds,
            show=show,
        )
        done = _ranked(asked)
        print_done(done)
        if report is not None:
            from reranker.pool.report import write_page

            write_page(report / "index.html", done)


def _check_outputs(report: Path | None, written: dict[str, Path]) -> None:
    """Refuse what could not be written, by option; what will lie in the report's folder, which is made later, can."""
    from reranker.evaluation.errors import InvalidSetting
    from reranker.evaluation.files import check_writable

    if report is not None and report.exists() and not report.is_dir():
        raise InvalidSetting("report", f"{report} is no folder")
    for option, path in written.items():
        if path.parent != report or report.exists():
            check_writable(option, path)


def _ranked(asked: Asked) -> Done:
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress, TimeElapsedColumn, TimeRemainingColumn

    from reranker.pool.work import work

    console = Console(stderr=True)
    columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    done = 0
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        bar = progress.add_task(asked.pool.name, total=None)

        def start(total: int, known: int) -> None:
            again = f", {known} known" if known else ""
            progress.update(bar, total=total, description=f"{asked.pool.name}{again}")

        def advance(result: Result) -> None:
            nonlocal done
            done += 1
            progress.update(bar, advance=1)

        try:
            return asyncio.run(work(asked, start, advance))
        except KeyboardInterrupt:
            progress.stop()
            again = f"to go on: touchstone {shlex.join(sys.argv[1:])}"
            typer.echo(f"touchstone rank: stopped after {done} problems; {again}", err=True)
            raise typer.Exit(_INTERRUPTED) from None


@contextmanager
def _told() -> Iterator[None]:
    """Our errors become one line and exit code 1."""
    from engine import EngineError
    from reranker.errors import RerankError
    from reranker.evaluation.errors import EvaluationError
    from sandbox import SandboxError

    try:
        yield
    except (EngineError, EvaluationError, RerankError, SandboxError, OSError) as error:
        typer.echo(f"touchstone rank: {error}", err=True)
        raise typer.Exit(1) from error
