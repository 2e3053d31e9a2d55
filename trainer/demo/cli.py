"""`touchstone loop --demo`."""

import asyncio
import importlib.util
import signal
import time
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def loop(
    demo: Annotated[bool, typer.Option("--demo", help="On the bundled model, on this machine.")] = False,
    out: Annotated[Path, typer.Option(help="Folder to work in; goes on with what it finds.")] = Path("touchstone-loop"),
    rounds: Annotated[int, typer.Option(min=1, help="Rounds of training.")] = 3,
    problems: Annotated[int, typer.Option(min=20, help="Problems asked before each round.")] = 600,
    candidates: Annotated[int, typer.Option(min=2, max=64, help="Candidates sampled a problem.")] = 16,
    limit: Annotated[
        int | None, typer.Option(min=20, max=200, help="Held-out problems.", show_default="all 200")
    ] = None,
    samples: Annotated[int, typer.Option(min=1, help="Samples a held-out problem.")] = 8,
    epochs: Annotated[int, typer.Option(min=1, help="Over the groups of a round.")] = 3,
    rate: Annotated[float, typer.Option(help="Highest learning rate.")] = 1e-3,
    processes: Annotated[int, typer.Option(min=1, help="Processes that train together, a core each.")] = 1,
    least: Annotated[int, typer.Option(min=1, help="Prompts with something to compare, that a round needs.")] = 32,
    teacher: Annotated[bool, typer.Option("--teacher", help="Reference solutions join in as a teacher.")] = False,
) -> None:
    """Traffic, log, round, hot switch, evaluation: the loop, printed as it goes, with a picture at its end."""
    if not demo:
        typer.echo("touchstone loop: only --demo is known; for your own log: touchstone train round", err=True)
        raise typer.Exit(2)
    missing = [name for name in ("torch", "transformers", "accelerate") if importlib.util.find_spec(name) is None]
    if missing:
        typer.echo(
            f"touchstone loop: {', '.join(missing)} not installed; run: pip install 'touchstone[train]'", err=True
        )
        raise typer.Exit(2)
    from engine import EngineError
    from reranker.evaluation import EvaluationError
    from trainer.demo.loop import Demo, run
    from trainer.errors import TrainerError

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # the server started here is to end with it
    began = time.monotonic()

    def say(line: str) -> None:
        typer.echo(f"[{time.monotonic() - began:6.0f} s] {line}" if line else "")

    plan = Demo(
        out=out,
        rounds=rounds,
        problems=problems,
        candidates=candidates,
        limit=limit,
        samples=samples,
        epochs=epochs,
        rate=rate,
        processes=processes,
        least=least,
        teacher=teacher,
    )
    try:
        asyncio.run(run(plan, say))
    except (TrainerError, EngineError, EvaluationError, OSError) as error:
        typer.echo(f"touchstone loop: {error}", err=True)
        raise typer.Exit(2) from error
