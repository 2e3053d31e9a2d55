"""`touchstone models`: list, pull, convert, calibrate and verify model folders."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from engine.ct2.model import available_cores
from engine.errors import EngineError, ModelNotFound
from engine.models import Model, ModelStore
from engine.settings_file import find_state_dir

if TYPE_CHECKING:
    from engine.calibration import Calibration

CALIBRATE_BUDGET_S = 600.0
"""Whoever asks for figures can wait longer than a server that starts."""

app = typer.Typer(help="List, pull, convert, calibrate and verify models.", no_args_is_help=True, add_completion=False)

StateDir = Annotated[
    Path | None,
    typer.Option("--state-dir", help="Folder of models and log.", show_default="as `touchstone serve` finds it here"),
]
Dtype = Annotated[
    str,
    typer.Option("--dtype", help="int8, int8_float16, int8_bfloat16, float16, bfloat16 or float32."),
]


@app.callback()
def models() -> None:
    """Models and where they come from."""


@app.command("list")
def list_models(
    state_dir: StateDir = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON array instead of a table.")] = False,
) -> None:
    """List the models of this machine; * is the champion, the one that is served."""
    with _told():
        store = _store(state_dir)
        champion = store.champion()
        found = store.list()
    if as_json:
        typer.echo(json.dumps([_record(model, champion) for model in found], indent=2))
        return
    rows: list[tuple[str, ...]] = [("", "ID", "FAMILY:SIZE", "ROUND", "CONVERSIONS", "CREATED", "")]
    rows += [_row(model, champion) for model in found]
    _print_table(rows)


@app.command()
def pull(
    source: Annotated[str, typer.Argument(metavar="NAME_OR_PATH", help="A hub repository (owner/name) or a folder.")],
    name: Annotated[str | None, typer.Option("--name", help="<family>:<size> instead of the guessed one.")] = None,
    dtype: Dtype = "int8",
    no_convert: Annotated[
        bool, typer.Option("--no-convert", help="Keep it for engines that need no conversion.")
    ] = False,
    revision: Annotated[str | None, typer.Option("--revision", help="Branch, tag or commit of the repository.")] = None,
    state_dir: StateDir = None,
) -> None:
    """Bring a model here and convert it for serving."""
    from engine.pull import pull as pull_model

    with _told():
        wanted = None if no_convert else dtype
        model = pull_model(_store(state_dir), source, name=name, dtype=wanted, revision=revision, say=_say)
    typer.echo(model.id)


@app.command()
def convert(
    name: Annotated[str, typer.Argument(help="Id, name or <family>:<size> of a model.")],
    dtype: Dtype = "int8",
    force: Annotated[bool, typer.Option("--force", help="Convert again what is converted already.")] = False,
    state_dir: StateDir = None,
) -> None:
    """Convert a model for serving."""
    from engine.convert import convert_model

    with _told():
        store = _store(state_dir)
        model = store.get(name)
        if dtype in model.manifest.conversions and not force:
            _say(f"{model.id} is converted to {dtype} already")
        else:
            _say(f"converting {model.id} to {dtype}")
            model = convert_model(store, model, dtype)
    typer.echo(str(model.conversion(dtype)))


@app.command()
def calibrate(
    name: Annotated[str | None, typer.Argument(help="Id or name of a model; the champion if left out.")] = None,
    threads: Annotated[
        int | None, typer.Option("--threads", min=1, help="As engine.threads; all cores if left out.")
    ] = None,
    state_dir: StateDir = None,
) -> None:
    """Measure again what `dtype = "auto"` chooses from, and keep the figures; * is the choice."""
    with _told():
        store = _store(state_dir)
        model = store.champion() if name is None else store.get(name)
        if model is None:
            raise ModelNotFound(f"there is no model in {store.root}; run: touchstone models pull NAME")
        found = _measure(store, model, threads)
    if found is None:
        typer.echo(f"{model.id}: nothing to choose between (conversions: {_conversions(model)})")
        return
    rows: list[tuple[str, ...]] = [("", "COMPUTED IN", "FROM", "US/TOKEN OF 1", "OF 16", "TURNS", "")]
    for timing in found.timings:
        costs = ["" if cost is None else f"{cost:.1f}" for cost in (timing.one_us, timing.many_us)]
        mark = "*" if timing == found.chosen else ""
        rows.append((mark, timing.dtype, f"ct2-{timing.conversion}", *costs, str(timing.turns), timing.left_out))
    _print_table(rows)


@app.command()
def verify(
    name: Annotated[str | None, typer.Argument(help="Id or name of a model; all of them where it is left out.")] = None,
    state_dir: StateDir = None,
) -> None:
    """Compare every file with its checksum; ends with 1 when one is not as it was."""
    damaged = False
    with _told():
        store = _store(state_dir)
        for model in store.list() if name is None else (store.get(name),):
            damage = store.verify(model)
            damaged |= bool(damage)
            typer.echo(f"{model.id}: {'sound' if not damage else 'DAMAGED'}")
            for item in damage:
                typer.echo(f"  {item.path}: {item.problem}")
    raise typer.Exit(1 if damaged else 0)


def _measure(store: ModelStore, model: Model, threads: int | None) -> Calibration | None:
    from engine.calibration import calibrated

    cores = threads or available_cores()
    return calibrated(model, cores=cores, folder=store.calibrations, again=True, budget_s=CALIBRATE_BUDGET_S)


def _store(state_dir: Path | None) -> ModelStore:
    return ModelStore(find_state_dir(state_dir))


def _row(model: Model, champion: Model | None) -> tuple[str, ...]:
    manifest = model.manifest
    return (
        "*" if champion and champion.folder == model.folder else "",
        model.id,
        f"{manifest.family}:{manifest.size}",
        str(manifest.round),
        _conversions(model),
        f"{manifest.created_at:%Y-%m-%d}",
        "bundled" if model.read_only else "",
    )


def _conversions(model: Model) -> str:
    return ", ".join(model.manifest.conversions) or "none"


def _print_table(rows: Sequence[Sequence[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _record(model: Model, champion: Model | None) -> dict[str, object]:
    manifest = model.manifest
    return {
        "id": model.id,
        "names": [str(manifest.name(dtype)) for dtype in manifest.conversions],
        "family": manifest.family,
        "size": manifest.size,
        "round": manifest.round,
        "parent": manifest.parent,
        "source": manifest.source,
        "created_at": manifest.created_at.isoformat(),
        "conversions": list(manifest.conversions),
        "evaluation": manifest.evaluation,
        "folder": str(model.folder),
        "bundled": model.read_only,
        "champion": champion is not None and champion.folder == model.folder,
    }


def _say(text: str) -> None:
    typer.echo(text, err=True)


@contextmanager
def _told() -> Iterator[None]:
    """An error of ours is one line on standard error and the exit status 1."""
    try:
        yield
    except EngineError as error:
        _say(f"error: {error}")
        raise typer.Exit(1) from error
