"""`touchstone bench`: the comparisons that users run. Heavy imports wait for their command."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)
Json = Annotated[Path | None, typer.Option("--json", help="Write everything to this file.")]
Html = Annotated[Path | None, typer.Option("--html", help="Write a page with plots that needs nothing else.")]
_INTERRUPTED = 130


@app.callback()
def bench() -> None:
    """Measure engines and types of a model on this host, or put a server under load."""


@app.command()
def table(
    model: Annotated[str | None, typer.Option(help="Id or folder; the champion if not given.")] = None,
    random: Annotated[str | None, typer.Option(help="Make a model of this shape with random weights instead.")] = None,
    row: Annotated[list[str] | None, typer.Option(help="ENGINE:TYPE, ENGINE or auto, again and again.")] = None,
    python: Annotated[list[str] | None, typer.Option(help="ENGINE=PATH: its interpreter, if not this one.")] = None,
    suite: Annotated[str, typer.Option(help="For pass@1; see touchstone eval.")] = "bundled",
    limit: Annotated[
        int | None, typer.Option(help="Problems of it; 0: none.", show_default="50; 0 with --random")
    ] = None,
    n: Annotated[int, typer.Option("--n", help="Samples a problem.")] = 8,
    seed: Annotated[int, typer.Option(help="Where the engine honours one.")] = 0,
    rounds: Annotated[int, typer.Option(help="Of timing, each row once in each; 0: none.")] = 7,
    tokens: Annotated[int, typer.Option(help="Of each candidate that is timed.")] = 64,
    threads: Annotated[int | None, typer.Option(help="Cores to compute with; all if not given.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    state_dir: Annotated[Path | None, typer.Option(help="Folder of models.")] = None,
    as_json: Json = None,
    html: Html = None,
) -> None:
    """Engine x type: memory, ms a token, tokens a second at n=1 and n=16, pass@1 with its interval, in one run."""
    with _told("table"):
        from bench.table.keep import keep_table
        from bench.table.rows import parse_rows, store_of, subject_of
        from bench.table.show import print_table
        from bench.table.work import Asked, make_table

        _check_outputs(as_json, html)
        asked = Asked(
            rows=parse_rows(row or ()),
            suite=suite,
            limit=(0 if random else 50) if limit is None else limit,
            n=n,
            seed=seed,
            rounds=rounds,
            tokens=tokens,
            threads=threads,
            device=device,
            pythons=_pythons(python or ()),
        )
        asked.check()
        with tempfile.TemporaryDirectory(prefix="touchstone-table-") as folder:
            work, notes = Path(folder), []
            if random is not None:
                model = _made(random, model, work)
                notes.append("pass@1: the weights are random, they answer nothing")
            subject = subject_of(model, state_dir, work)
            found = make_table(asked, subject, work, notes=notes)
            kept = keep_table(found, subject, asked, store_of(state_dir).calibrations)
        print_table(found)
        if kept is not None:
            typer.echo(f"kept for engine.type = 'auto': {kept}", err=True)
        if as_json is not None:
            from bench.table.result import table_data
            from reranker.evaluation import write_json

            write_json(as_json, table_data(found))
        if html is not None:
            from bench.table.page import write_page

            write_page(html, found)


@app.command()
def load(
    url: Annotated[str, typer.Option(help="Of any server of OpenAI's API, with its /v1.")] = "http://127.0.0.1:8000/v1",
    api_key: Annotated[str | None, typer.Option(help="Or set TOUCHSTONE_API_KEY.")] = None,
    model: Annotated[str | None, typer.Option(help="Model to ask; the first listed if not given.")] = None,
    seconds: Annotated[float, typer.Option(help="How long requests are sent.")] = 60.0,
    typists: Annotated[int, typer.Option(help="People whose editors ask as they type, and cancel.")] = 2,
    chats: Annotated[float, typer.Option(help="Chats a second.")] = 0.2,
    best_of: Annotated[float, typer.Option(help="Best-of-n requests a second.")] = 0.1,
    candidates: Annotated[int, typer.Option(help="Of a best-of-n request.")] = 8,
    fim: Annotated[bool, typer.Option("--fim/--no-fim", help="Whether the server fills gaps (suffix).")] = True,
    rerank: Annotated[
        bool, typer.Option("--rerank/--no-rerank", help="Best-of-n by reranking, where it is a Touchstone; else n.")
    ] = True,
    seed: Annotated[int, typer.Option(help="The same seed sends the same at the same times.")] = 0,
    as_json: Json = None,
) -> None:
    """Replay typing with its cancels, chats and best-of-n requests against a server; open loop."""
    with _told("load"):
        import asyncio
        import os

        from bench.load.result import load_data
        from bench.load.show import print_load
        from bench.load.traffic import Mix
        from bench.load.work import Target, put_under_load
        from reranker.evaluation import write_json

        _check_outputs(as_json)
        target = Target(url=url.rstrip("/"), key=api_key or os.environ.get("TOUCHSTONE_API_KEY"), model=model)
        mix = Mix(
            seconds=seconds,
            typists=typists,
            chats_per_s=chats,
            best_per_s=best_of,
            candidates=candidates,
            fim=fim,
            reranks=rerank,
            seed=seed,
        )
        found = asyncio.run(put_under_load(target, mix))
        print_load(found)
        if as_json is not None:
            write_json(as_json, load_data(found))


def _made(shape: str, model: str | None, work: Path) -> str:
    """The folder of a model with random weights."""
    from bench.errors import InvalidOption
    from bench.made import make

    if model is not None:
        raise InvalidOption("random", "makes the model; --model cannot stand beside it")
    folder = work / shape
    make(shape, folder)
    return str(folder)


def _pythons(texts: list[str] | tuple[()]) -> dict[str, str]:
    """`ENGINE=PATH`, by engine."""
    from bench.errors import InvalidOption

    found = {}
    for text in texts:
        engine, equals, path = text.partition("=")
        if not equals or not engine or not path:
            raise InvalidOption("python", f"{text!r} is not ENGINE=PATH")
        found[engine] = path
    return found


def _check_outputs(as_json: Path | None, html: Path | None = None) -> None:
    """What cannot be written is said before the measuring, not after."""
    from reranker.evaluation import check_writable

    check_writable("json", as_json)
    check_writable("html", html)


@contextmanager
def _told(command: str) -> Iterator[None]:
    """Our errors become one line and exit code 1."""
    from bench.errors import BenchError
    from engine import EngineError
    from reranker.evaluation import EvaluationError

    try:
        yield
    except (BenchError, EngineError, EvaluationError, OSError) as error:
        typer.echo(f"touchstone bench {command}: {error}", err=True)
        raise typer.Exit(1) from error
    except KeyboardInterrupt:
        typer.echo(f"touchstone bench {command}: stopped; nothing is kept", err=True)
        raise typer.Exit(_INTERRUPTED) from None
