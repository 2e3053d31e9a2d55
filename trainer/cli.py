"""The sub-commands of `touchstone train`. Imports no torch until a command runs."""

import importlib.util
import json
import math
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from engine import InvalidModel, check_id
from trainer.errors import BadBudget, BadCheckpoints, BadName, OutputExists, TrainerError, TrainingExtraMissing
from trainer.groups.cli import register as register_groups
from trainer.promote_cli import register as register_promote
from trainer.rounds.cli import register as register_rounds
from trainer.verifier.cli import register

if TYPE_CHECKING:
    from trainer.bundled.make import Maker, Plan
    from trainer.bundled.train import Budget

app = typer.Typer(add_completion=False, help="Train models.", no_args_is_help=True, pretty_exceptions_enable=False)
TINY_TOKENS = 6_000
DEFAULT_MINUTES = 45.0


@app.callback()
def train() -> None:
    """Train models."""


@app.command()
def bundled(
    out: Annotated[Path, typer.Option(help="Model folder to make; `touchstone serve --model` takes it.")],
    seed: Annotated[int, typer.Option(help="Seed of corpus, weights and order.")] = 0,
    minutes: Annotated[float | None, typer.Option(help="Budget in minutes of wall clock (default: 45).")] = None,
    tokens: Annotated[int | None, typer.Option(help="Budget in tokens instead; repeatable.")] = None,
    threads: Annotated[int, typer.Option(min=1, help="Threads, each a process that trains on its own share.")] = 2,
    checkpoints: Annotated[
        Path | None, typer.Option(help="Folder for checkpoints; a run that was cut short resumes from there.")
    ] = None,
    tiny: Annotated[bool, typer.Option("--tiny", help="A useless model in seconds, to try the plumbing.")] = False,
) -> None:
    """Train the bundled model from nothing on the synthetic corpus."""
    try:
        _refuse_early(out, checkpoints)
        from trainer.bundled.make import Plan

        budget = _budget(minutes, tokens, tiny)
        facts = _make(Plan(out=out, seed=seed, budget=budget, processes=threads, tiny=tiny, checkpoints=checkpoints))
    except TrainerError as error:
        typer.echo(f"touchstone train: {error}", err=True)
        raise typer.Exit(2) from error
    typer.echo(json.dumps(facts))


@app.command()
def problems(
    out: Annotated[Path, typer.Option(help="File to write (.jsonl or .jsonl.gz), one problem a line.")],
    n: Annotated[int, typer.Option(min=1, help="How many.")] = 200,
    seed: Annotated[int, typer.Option(help="Seed of compositions and tests.")] = 1,
    fim: Annotated[bool, typer.Option("--fim", help="Gaps to fill instead of functions to write.")] = False,
    apart: Annotated[bool, typer.Option("--apart", help="None of the compositions of the suites shipped.")] = False,
) -> None:
    """Write held-out problems of the bundled model's corpus: with the defaults, the suites that are shipped."""
    from reranker.evaluation import EvaluationError, write_problems
    from trainer import bundled as made

    if fim and apart:
        typer.echo("touchstone train: --apart: not for gaps", err=True)
        raise typer.Exit(2)
    try:
        write_problems(out, (made.gaps if fim else made.apart if apart else made.held_out)(n, seed))
    except (EvaluationError, OSError) as error:
        typer.echo(f"touchstone train: --out: {error}", err=True)
        raise typer.Exit(2) from error
    typer.echo(f"{n} problems in {out}")


register(app)
register_groups(app)
register_promote(app)
register_rounds(app)


def _refuse_early(out: Path, checkpoints: Path | None) -> None:
    """Find before an hour of training what would stop its end.

    Raises:
        TrainingExtraMissing, OutputExists, BadName, BadCheckpoints
    """
    missing = [name for name in ("torch", "transformers") if importlib.util.find_spec(name) is None]
    if missing:
        raise TrainingExtraMissing(
            f"{' and '.join(missing)} not installed; training needs them: pip install 'touchstone[train]'"
        )
    try:
        check_id(out.name)
    except InvalidModel as error:
        raise BadName(f"--out: the folder's name becomes the model's id: {error}") from error
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise OutputExists(f"{out} exists and is not empty; a model is never written over another")
    if checkpoints is not None and checkpoints.exists() and not checkpoints.is_dir():
        raise BadCheckpoints(f"--checkpoints: {checkpoints} is not a folder")
    if checkpoints is not None and checkpoints.resolve().is_relative_to(out.resolve()):
        raise BadCheckpoints(
            f"--checkpoints: {checkpoints} is inside {out}, which must be empty when the model is written"
        )


def _budget(minutes: float | None, tokens: int | None, tiny: bool) -> "Budget":
    """Read the budget options.

    Raises:
        BadBudget: both are given, or one is not positive.
    """
    from trainer.bundled.train import Budget

    if minutes is None and tokens is None:
        return Budget(tokens=TINY_TOKENS) if tiny else Budget(minutes=DEFAULT_MINUTES)
    if (minutes is not None and tokens is not None) or not 0 < (minutes or tokens or 0) < math.inf:
        raise BadBudget
    return Budget(tokens=tokens, minutes=minutes)


def _make(plan: "Plan") -> dict[str, object]:
    from trainer.bundled.make import Maker, follow
    from trainer.bundled.team import assembled

    with assembled(plan.processes, partial(follow, plan)) as team:
        maker = Maker(plan, team)
        _show(Console(stderr=True), maker)
    return asdict(maker.write())


def _show(console: Console, maker: "Maker") -> None:
    """Train under a progress bar, with a line at each validation."""
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(f"{maker.parameters / 1e6:.2f} M parameters", total=1.0)
        for now in maker.train():
            bar.update(task, completed=now.spent, description=f"loss {now.training_loss:.3f}")
            if now.validation_loss is not None:
                rate = now.tokens / max(now.elapsed_s, 1e-9)
                console.print(
                    f"step {now.step}, {now.tokens / 1e6:.2f} M tokens, {now.elapsed_s:.0f} s, {rate:.0f} tokens/s: "
                    f"validation loss {now.validation_loss:.4f}{_solved(maker)}"
                )


def _solved(maker: "Maker") -> str:
    """What the newest checkpoint solves, if there is one."""
    if not maker.curve:
        return ""
    scores = maker.curve[-1].scores
    if isinstance(scores, str):
        return f"; held-out problems not tried: {scores}"
    return (
        f", greedy {100 * scores.greedy:.0f} %, pass@1 {100 * scores.pass_at_1:.0f} %, "
        f"pass@{scores.n} {100 * scores.pass_at_n:.0f} %"
    )
