"""`touchstone eval`: measure a model, compare measurements, show one again. Heavy imports wait for their command."""

from __future__ import annotations

import asyncio
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from reranker.evaluation.record import Record
    from reranker.evaluation.report import Report
    from reranker.evaluation.work import Asked

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Measure pass@k and best-of-n of a model on a suite of problems, each answer judged by hidden tests.",
)

Json = Annotated[Path | None, typer.Option("--json", help="Write everything to this file, records too.")]
Html = Annotated[Path | None, typer.Option("--html", help="Write a page with plots that needs nothing else.")]
Suite = Annotated[str, typer.Option(help="bundled, bundled-fim, humaneval, mbpp, datasets:NAME, a file.")]
PoolFile = Annotated[Path | None, typer.Option(help="Keep the samples here, for touchstone rank; added to if there.")]
_INTERRUPTED = 130
_KEY = "--api-key"


@app.callback(invoke_without_command=True)
def measure(
    context: typer.Context,
    suite: Suite = "bundled",
    limit: Annotated[int | None, typer.Option(help="Only the first so many problems.")] = None,
    n: Annotated[int | None, typer.Option("--n", help="Samples a problem.", show_default="16")] = None,
    k: Annotated[str | None, typer.Option("--k", help="Sizes to measure at.", show_default="1,4,... up to n")] = None,
    temperature: Annotated[float | None, typer.Option(help="Of the samples.", show_default="0.8")] = None,
    top_p: Annotated[float | None, typer.Option(help="Of the samples.", show_default="0.95")] = None,
    max_tokens: Annotated[int | None, typer.Option(help="A sample.", show_default="256; 128 to fill a gap")] = None,
    greedy: Annotated[
        bool | None, typer.Option("--greedy/--no-greedy", help="One more at temperature 0, or not.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Where the engine honours one.")] = None,
    samples: Annotated[str | None, typer.Option(help="Judge these: a file of completions, or 'canonical'.")] = None,
    url: Annotated[str | None, typer.Option(help="Measure a running server: http://host:port/v1.")] = None,
    api_key: Annotated[str | None, typer.Option(help="For --url; or set TOUCHSTONE_API_KEY.")] = None,
    method: Annotated[str | None, typer.Option(help="For --url: how the server chooses.", show_default="auto")] = None,
    model: Annotated[str | None, typer.Option(help="Model to measure; the champion if not given.")] = None,
    engine: Annotated[str | None, typer.Option(help="ctranslate2, cpu, vllm, transformers, openai, scripted.")] = None,
    dtype: Annotated[str | None, typer.Option(help="Type to compute in.")] = None,
    threads: Annotated[int | None, typer.Option(help="Cores to compute with.")] = None,
    config: Annotated[Path | None, typer.Option(help="Its section engine counts; ./touchstone.toml if there.")] = None,
    state_dir: Annotated[Path | None, typer.Option(help="Folder of models.")] = None,
    test_cpu_s: Annotated[float | None, typer.Option(help="CPU seconds a test may take.", show_default="10")] = None,
    concurrency: Annotated[
        int | None, typer.Option(help="Problems at a time.", show_default="one a core, at least 2")
    ] = None,
    run: Annotated[Path | None, typer.Option(help="Keep each finished problem here; go on where it stopped.")] = None,
    pool: PoolFile = None,
    as_json: Json = None,
    html: Html = None,
) -> None:
    """Measure pass@k and best-of-n: every problem is answered n times, every answer judged by hidden tests."""
    if context.invoked_subcommand is not None:
        _refuse_options_of(context)
        return
    from reranker.evaluation.work import Asked

    sampling = {"n": n, "temperature": temperature, "top_p": top_p, "max_tokens": max_tokens, "seed": seed}
    asked = Asked(
        suite=suite,
        limit=limit,
        ks=k,
        greedy=greedy,
        sampling=sampling | {"method": method},
        samples=samples,
        url=url,
        api_key=api_key,
        engine={"type": engine, "model": model, "dtype": dtype, "threads": threads},
        config=config,
        state_dir=state_dir,
        test_cpu_s=test_cpu_s,
        concurrency=concurrency,
        run=run,
        pool=pool,
    )
    with _told():
        _check_outputs(as_json, html)
        _finish(_measure(asked), as_json, html)


@app.command()
def show(
    file: Annotated[Path, typer.Argument(help="A --json or --run file.")], as_json: Json = None, html: Html = None
) -> None:
    """Show a measurement again, from its records; nothing is sampled."""
    from reranker.evaluation.files import read_report

    with _told():
        _check_outputs(as_json, html)
        _finish(read_report(file), as_json, html)


@app.command()
def compare(
    before: Annotated[Path, typer.Argument(help="A --json or --run file.")],
    after: Annotated[Path, typer.Argument(help="Another one of the same suite.")],
    as_json: Json = None,
    html: Html = None,
) -> None:
    """What changed from one measurement to another, paired problem by problem."""
    from reranker.evaluation.compare import compare as paired
    from reranker.evaluation.files import read_report, write_json
    from reranker.evaluation.table import print_comparison

    with _told():
        _check_outputs(as_json, html)
        comparison = paired(read_report(before), read_report(after))
        print_comparison(comparison)
        if as_json is not None:
            write_json(as_json, comparison.to_data())
        if html is not None:
            from reranker.evaluation.page import write_page

            write_page(html, comparison.after, comparison)


def _check_outputs(as_json: Path | None, html: Path | None) -> None:
    """What cannot be written is said before hours of measuring, not after."""
    from reranker.evaluation.files import check_writable

    check_writable("json", as_json)
    check_writable("html", html)


def _refuse_options_of(context: typer.Context) -> None:
    """An option before `show` or `compare` would be ignored: it is about measuring."""
    from reranker.evaluation.errors import InvalidSetting

    with _told():
        for name in context.params:
            source = context.get_parameter_source(name)
            if source is not None and source.name == "COMMANDLINE":
                raise InvalidSetting(name, f"is about measuring and cannot stand before {context.invoked_subcommand}")


def _measure(asked: Asked) -> Report:
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress, TimeElapsedColumn, TimeRemainingColumn

    from reranker.evaluation.work import work

    console = Console(stderr=True)
    columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    solved = done = 0
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        bar = progress.add_task(asked.suite, total=None)

        def start(total: int, known: int) -> None:
            progress.update(bar, total=total, completed=known)

        def advance(record: Record) -> None:
            nonlocal solved, done
            solved, done = solved + any(record.passes), done + 1
            progress.update(bar, advance=1, description=f"{asked.suite}, {solved} of {done} solvable")

        try:
            return asyncio.run(work(asked, start, advance))
        except KeyboardInterrupt:
            progress.stop()
            typer.echo(f"touchstone eval: stopped after {done} problems; {_how_to_go_on(asked)}", err=True)
            raise typer.Exit(_INTERRUPTED) from None


def _how_to_go_on(asked: Asked) -> str:
    if asked.run is None:
        return "nothing is kept without --run FILE"
    key = "" if asked.api_key is None else f" {_KEY} ..."
    return f"to go on: touchstone {shlex.join(_without_key(sys.argv[1:]))}{key}"


def _without_key(words: Sequence[str]) -> list[str]:
    """A command line without the API key, which is nobody's to print."""
    kept = [word for word in words if not word.startswith(f"{_KEY}=")]
    return [word for at, word in enumerate(kept) if word != _KEY and (at == 0 or kept[at - 1] != _KEY)]


def _finish(report: Report, as_json: Path | None, html: Path | None) -> None:
    from reranker.evaluation.files import report_data, write_json
    from reranker.evaluation.table import print_report

    print_report(report)
    if as_json is not None:
        write_json(as_json, report_data(report))
    if html is not None:
        from reranker.evaluation.page import write_page

        write_page(html, report)


@contextmanager
def _told() -> Iterator[None]:
    """Our errors become one line and exit code 1."""
    from engine import EngineError
    from reranker.errors import RerankError
    from reranker.evaluation.errors import EvaluationError
    from sandbox import SandboxError, SandboxUnavailable

    try:
        yield
    except (EngineError, EvaluationError, RerankError, SandboxError, OSError) as error:
        fixes = "".join(f"\n  {fix}" for fix in error.how_to_fix) if isinstance(error, SandboxUnavailable) else ""
        typer.echo(f"touchstone eval: {error}{fixes}", err=True)
        raise typer.Exit(1) from error
