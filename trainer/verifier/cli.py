"""`touchstone train verifier` and `touchstone train questions`. Imports no torch until a command runs."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from engine import EngineError, find_state_dir, find_verifier
from reranker import RerankError
from reranker.evaluation import EvaluationError
from sandbox import SandboxError
from trainer.errors import TrainerError
from trainer.verifier.asked import Asked

if TYPE_CHECKING:
    from trainer.verifier.make import Maker

StateDir = Annotated[
    Path | None, typer.Option(help="Folder of models.", show_default="as `touchstone serve` finds it here")
]


def verifier(
    data: Annotated[list[Path], typer.Option(help="File of questions (.jsonl or .jsonl.gz); may be given again.")],
    out: Annotated[Path | None, typer.Option(help="Verifier folder to make; its name becomes the id.")] = None,
    base: Annotated[
        Path | None, typer.Option(help="Folder of a transformers checkpoint to fine-tune (default: from nothing).")
    ] = None,
    tokenizer: Annotated[
        Path | None, typer.Option(help="Folder with tokenizer.json, from nothing (default: the bundled model's).")
    ] = None,
    execution: Annotated[
        bool, typer.Option("--execution/--no-execution", help="Read execution results, or the program alone.")
    ] = True,
    features: Annotated[
        bool, typer.Option("--features", help="Only the model of execution features; no torch.")
    ] = False,
    folds: Annotated[
        int | None, typer.Option(min=2, help="Only cross-validate the feature model over questions, and print it.")
    ] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Budget in visits of each question (default: 3).")] = None,
    minutes: Annotated[float | None, typer.Option(help="Budget in minutes of wall clock instead.")] = None,
    max_tokens: Annotated[int, typer.Option(min=32, help="Longer texts are cut from the right.")] = 320,
    width: Annotated[int, typer.Option(min=32, help="Of the classifier from nothing; a multiple of 32.")] = 128,
    layers: Annotated[int, typer.Option(min=1, help="Of the classifier from nothing.")] = 2,
    contrast: Annotated[
        bool | None, typer.Option("--contrast/--no-contrast", help="The contrastive stage of --no-execution.")
    ] = None,
    rate: Annotated[float | None, typer.Option(help="Of learning (default: 1e-3, or 5e-5 for a base).")] = None,
    light: Annotated[
        bool, typer.Option("--light", help="Write only what is served without torch: int8, no checkpoint.")
    ] = False,
    threads: Annotated[int, typer.Option(min=1, help="Threads of torch.")] = 1,
    seed: Annotated[int, typer.Option(help="Seed of weights, order and draws.")] = 0,
) -> None:
    """Train a verifier: P(correct | prompt, program, execution results)."""
    _train(Asked(**locals()))


def _train(asked: Asked) -> None:
    with _told():
        asked.check()
        from trainer.verifier.make import Maker, make_features, set_threads
        from trainer.verifier.questions import load

        found = load(asked.data)
        if asked.out is None:
            from trainer.verifier.folds import cross_validate

            report = cross_validate(found, folds=asked.folds or 2, seed=asked.seed).data()
        elif asked.features:
            report = asdict(make_features(asked.out, found, asked.seed, asked.source))
        else:
            set_threads(asked.threads)
            maker = Maker(asked.plan(asked.out), found)
            _show(Console(stderr=True), maker)
            report = asdict(maker.write())
        typer.echo(json.dumps(report, indent=2))


def questions(
    problems: Annotated[str, typer.Option(help="Suite to sample on: a file of problems, or a suite's name.")],
    out: Annotated[Path, typer.Option(help="File to write (.jsonl); what is there already is not sampled again.")],
    model: Annotated[str | None, typer.Option(help="Model to sample from (default: the champion).")] = None,
    n: Annotated[int, typer.Option(min=2, help="Samples a problem.")] = 16,
    temperature: Annotated[float, typer.Option(help="Of sampling.")] = 0.8,
    top_p: Annotated[float, typer.Option(help="Of sampling.")] = 0.95,
    max_tokens: Annotated[int, typer.Option(min=1, help="Of a sample.")] = 256,
    state_dir: StateDir = None,
) -> None:
    """Make questions to train a verifier on: sample a model, run what it writes, class it by the hidden tests."""
    from engine import Sampling
    from trainer.verifier.collect import collect

    with _told():
        sampling = Sampling(temperature=temperature, top_p=top_p, max_tokens=max_tokens, fits_context=True)
        console = Console(stderr=True)
        with Progress(TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), console=console) as bar:
            task = bar.add_task("questions", total=None)

            def told(done: int, total: int) -> None:
                bar.update(task, completed=done, total=total, description=f"{done} of {total} questions")

            work = collect(problems, out, model=model, n=n, sampling=sampling, state_dir=state_dir, told=told)
            total = asyncio.run(work)
    typer.echo(f"{total} questions in {out}")


def assess(
    verifier: Annotated[str, typer.Option(help="Verifier: its folder, or its id in the state folder or the package.")],
    data: Annotated[list[Path], typer.Option(help="File of questions it was not trained on; may be given again.")],
    backend: Annotated[str, typer.Option(help="auto, ctranslate2 or transformers.")] = "auto",
    state_dir: StateDir = None,
) -> None:
    """Measure a verifier as it is served: AUC, ECE, and what choosing by it solves."""
    from trainer.verifier.assess import assess as work
    from trainer.verifier.questions import load

    with _told():
        folder = find_verifier(verifier, find_state_dir(state_dir))
        typer.echo(json.dumps(asyncio.run(work(folder, load(data), backend)), indent=2))


def _show(console: Console, maker: Maker) -> None:
    """Train under a progress bar, with a line an epoch."""
    with Progress(TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), console=console) as bar:
        task = bar.add_task(f"{maker.parameters / 1e6:.2f} M parameters", total=1.0)
        losses: list[float] = []
        for now in maker.train():
            if now.epoch_ended:
                console.print(f"{now.stage}: step {now.step}, mean loss {sum(losses) / max(1, len(losses)):.4f}")
                losses.clear()
            else:
                losses.append(now.loss)
                bar.update(task, completed=now.done, description=f"{now.stage}: loss {now.loss:.3f}")


@contextmanager
def _told() -> Iterator[None]:
    """Errors that have a name become one line and exit status 2."""
    try:
        yield
    except (TrainerError, RerankError, EvaluationError, EngineError, SandboxError, OSError) as error:
        typer.echo(f"touchstone train: {error}", err=True)
        raise typer.Exit(2) from error


def register(app: Any) -> None:
    """Add the commands to `touchstone train`."""
    app.command()(verifier)
    app.command()(questions)
    app.command()(assess)
