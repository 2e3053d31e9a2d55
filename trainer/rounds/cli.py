"""`touchstone train round | rounds | watch`: rounds by hand, looked at, and periodically."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from engine import EngineError
from trainer.errors import NotEnough, RoundRunning, TrainerError

if TYPE_CHECKING:
    from trainer.rounds.config import Config

NOT_ENOUGH, BUSY = 3, 4
"""Exit codes that a scheduler may take for "come again later"."""

ConfigFile = Annotated[
    Path | None, typer.Option("--config", help="Its section trainer counts.", show_default="./touchstone.toml if there")
]
StateDir = Annotated[Path | None, typer.Option(help="Models, log and rounds.", show_default="the user's data folder")]
Suite = Annotated[list[str] | None, typer.Option(help="Evaluate on this suite; may be given several times.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("round")(round_)
    app.command("rounds")(rounds)
    app.command("watch")(watch)


def round_(
    config: ConfigFile = None,
    state_dir: StateDir = None,
    suite: Suite = None,
    loss: Annotated[
        str | None, typer.Option(help="rrtf, rank, sft, rrhf, oreal, dpo or kto.", show_default="rrtf")
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="Over the groups.", show_default="3")] = None,
    rate: Annotated[
        float | None, typer.Option(help="Highest learning rate.", show_default="by the model's size")
    ] = None,
    samples: Annotated[int | None, typer.Option(help="Fresh samples a prompt.", show_default="0")] = None,
    teacher: Annotated[list[Path] | None, typer.Option(help="A file of solutions; may be given several times.")] = None,
    threads: Annotated[int | None, typer.Option(help="Cores to use, a process.", show_default="1")] = None,
    ray: Annotated[
        str | None,
        typer.Option(help="host:port of a Ray cluster (or auto) to train and sample on.", show_default="none"),
    ] = None,
    discard: Annotated[bool, typer.Option("--discard", help="Give up a round that was cut short.")] = False,
) -> None:
    """Make a round: groups from the log, train, convert, evaluate, gate, publish. Goes on where it was cut short."""
    flags: dict[str, Any] = {
        "state_dir": state_dir,
        "trainer": {
            "evaluation": {"suites": suite},
            "recipe": {"loss": loss, "epochs": epochs, "rate": rate},
            "samples": {"n": samples},
            "teachers": [{"name": f"file{at}", "file": str(path)} for at, path in enumerate(teacher)]
            if teacher
            else None,
            "threads": threads,
            "ray": ray,
        },
    }
    with _errors():
        ended = _round(_load(config, flags), discard=discard)
    if ended == "refused":
        raise typer.Exit(1)


def rounds(
    config: ConfigFile = None,
    state_dir: StateDir = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the rounds of a state folder, how each ended and why."""
    from trainer.rounds.folder import Rounds

    with _errors():
        found = Rounds(_load(config, {"state_dir": state_dir}).state_dir / "rounds").all()
        rows = []
        for each in found:
            facts, result = each.facts, each.result
            ending = result.ending if result else "unfinished"
            rows.append({
                "round": facts.round,
                "id": facts.id,
                "parent": facts.parent,
                "ending": ending,
                "reason": result.reason if result else "",
            })  # fmt: skip
    if as_json:
        typer.echo(json.dumps(rows))
        return
    for row in rows:
        typer.echo(f"{row['round']}\t{row['id']}\t{row['ending']}\t{row['reason']}")


def watch(
    every: Annotated[str, typer.Option(help="How often to look: 90s, 30m, 24h, 7d.")] = "24h",
    min_groups: Annotated[int, typer.Option(min=1, help="New prompts in the log that a round is worth.")] = 500,
    idle_only: Annotated[bool, typer.Option("--idle-only", help="Wait until nothing was logged for a while.")] = False,
    idle_minutes: Annotated[float, typer.Option(min=0, help="How long that is.")] = 10.0,
    once: Annotated[bool, typer.Option("--once", help="Look once and end: for a scheduler, e.g. a CronJob.")] = False,
    config: ConfigFile = None,
    state_dir: StateDir = None,
) -> None:
    """Make a round periodically, whenever the log has grown enough."""
    from trainer.rounds.watch import Watch, seconds_of

    with _errors():
        plan = Watch(every_s=seconds_of(every), min_groups=min_groups, idle_s=60 * idle_minutes if idle_only else 0.0)
        settings = _load(config, {"state_dir": state_dir})
        _stand_back(settings)
        with _screen() as told:
            asyncio.run(plan.run(settings, told, once=once))


def _round(config: Config, *, discard: bool) -> str:
    from trainer.rounds.report import PAGE
    from trainer.rounds.round import run_round

    _stand_back(config)
    with _screen() as told:
        folder, result = asyncio.run(run_round(config, told, discard=discard))
    typer.echo(f"{result.ending}: {result.reason}; {folder.path / PAGE}")
    return result.ending


def _load(path: Path | None, flags: dict[str, Any]) -> Config:
    from trainer.rounds.config import load

    return load(path, flags)


def _stand_back(config: Config) -> None:
    """Leave the cores to whoever serves: this process and its children come last."""
    now = os.nice(0)
    if config.trainer.nice > now:
        os.nice(config.trainer.nice - now)


@contextmanager
def _screen() -> Iterator[Any]:
    from rich.console import Console

    from trainer.rounds.screen import Screen

    with Screen(Console(stderr=True)) as told:
        yield told


@contextmanager
def _errors() -> Iterator[None]:
    """Errors of ours become one line and an exit code."""
    from feedback import FeedbackError
    from reranker.evaluation import EvaluationError

    try:
        yield
    except NotEnough as error:
        typer.echo(f"touchstone train: {error}", err=True)
        raise typer.Exit(NOT_ENOUGH) from error
    except RoundRunning as error:
        typer.echo(f"touchstone train: {error}", err=True)
        raise typer.Exit(BUSY) from error
    except (TrainerError, EngineError, FeedbackError, EvaluationError, OSError) as error:
        typer.echo(f"touchstone train: {error}", err=True)
        raise typer.Exit(2) from error
