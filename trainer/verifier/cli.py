"""`touchstone train verifier` and `touchstone train questions`. Imports no torch until a command runs."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from engine import EngineError, InvalidModel, check_id
from reranker import RerankError
from reranker.evaluation import EvaluationError
from sandbox import SandboxError
from trainer.errors import BadBudget, BadName, BadQuestions, OutputExists, TrainerError, TrainingExtraMissing

if TYPE_CHECKING:
    from reranker import Labelled
    from trainer.verifier.make import Maker, Plan

DEFAULT_EPOCHS = 3
TOKENIZER = Path(str(files("engine"))) / "bundled" / "touchstone-3.8m" / "hf"


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
    light: Annotated[
        bool, typer.Option("--light", help="Write only what is served without torch: int8, no checkpoint.")
    ] = False,
    threads: Annotated[int, typer.Option(min=1, help="Threads of torch.")] = 1,
    seed: Annotated[int, typer.Option(help="Seed of weights, order and draws.")] = 0,
) -> None:
    """Train a verifier: P(correct | prompt, program, execution results)."""
    with _told():
        given = {
            "--base": base,
            "--tokenizer": tokenizer,
            "--epochs": epochs,
            "--minutes": minutes,
            "--light": light or None,
        }
        _refuse_combinations(given, out=out, features=features, folds=folds, execution=execution)
        from trainer.verifier.questions import load

        if folds is not None:
            _print_folds(data, folds, seed)
            return
        assert out is not None  # noqa: S101 - refused above
        _refuse_early(out, torch=not features)
        source = _source(data, seed, features=features, execution=execution, epochs=epochs, minutes=minutes)
        if features:
            from trainer.verifier.make import make_features

            typer.echo(json.dumps(asdict(make_features(out, load(data), seed, source)), indent=2))
            return
        from trainer.verifier.make import Plan

        plan = Plan(
            out=out,
            execution=execution,
            base=base,
            tokenizer=tokenizer or TOKENIZER,
            max_tokens=max_tokens,
            width=width,
            layers=layers,
            light=light,
            epochs=DEFAULT_EPOCHS if epochs is None and minutes is None else epochs,
            minutes=minutes,
            seed=seed,
            source=source,
        )
        _make(plan, load(data), threads)


def _make(plan: Plan, questions: Sequence[Labelled], threads: int) -> None:
    from trainer.verifier.make import Maker, set_threads

    set_threads(threads)
    maker = Maker(plan, questions)
    _show(Console(stderr=True), maker)
    typer.echo(json.dumps(asdict(maker.write()), indent=2))


def questions(
    problems: Annotated[str, typer.Option(help="Suite to sample on: a file of problems, or a suite's name.")],
    out: Annotated[Path, typer.Option(help="File to write (.jsonl); what is there already is not sampled again.")],
    model: Annotated[str | None, typer.Option(help="Model to sample from (default: the champion).")] = None,
    n: Annotated[int, typer.Option(min=2, help="Samples a problem.")] = 16,
    temperature: Annotated[float, typer.Option(help="Of sampling.")] = 0.8,
    top_p: Annotated[float, typer.Option(help="Of sampling.")] = 0.95,
    max_tokens: Annotated[int, typer.Option(min=1, help="Of a sample.")] = 256,
    state_dir: Annotated[
        Path | None, typer.Option(envvar="TOUCHSTONE_STATE_DIR", help="Folder of models (default: the user's).")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the inputs that are made up.")] = 0,
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

            work = collect(
                problems, out, model=model, n=n, sampling=sampling, state_dir=state_dir, seed=seed, told=told
            )
            total = asyncio.run(work)
    typer.echo(f"{total} questions in {out}")


def assess(
    verifier: Annotated[Path, typer.Option(help="Verifier folder.")],
    data: Annotated[list[Path], typer.Option(help="File of questions it was not trained on; may be given again.")],
    backend: Annotated[str, typer.Option(help="auto, ctranslate2 or transformers.")] = "auto",
) -> None:
    """Measure a verifier as it is served: AUC, ECE, and what choosing by it solves."""
    from trainer.verifier.assess import assess as work
    from trainer.verifier.questions import load

    with _told():
        typer.echo(json.dumps(asyncio.run(work(verifier, load(data), backend)), indent=2))


def _refuse_combinations(
    given: Mapping[str, object], *, out: Path | None, features: bool, folds: int | None, execution: bool
) -> None:
    """Refuse by name an option that another one leaves without a meaning. Raises `BadBudget`, `BadQuestions`."""
    named = [name for name, value in given.items() if value is not None]
    if given["--epochs"] is not None and given["--minutes"] is not None:
        raise BadBudget("--epochs and --minutes: give one of them")
    minutes = given["--minutes"]
    if isinstance(minutes, float) and not 0 < minutes < math.inf:
        raise BadBudget("--minutes: must be more than nothing")
    if given["--base"] is not None and given["--tokenizer"] is not None:
        raise BadQuestions("--tokenizer: a base brings its own")
    if (features or folds is not None) and (named or not execution):
        raise BadQuestions(f"{(named or ['--no-execution'])[0]}: the feature model has no such setting")
    if folds is not None and (out is not None or features):
        raise BadQuestions("--folds: measures the feature model and writes nothing; leave out --out and --features")
    if folds is None and out is None:
        raise BadQuestions("--out: where should the verifier go?")


def _refuse_early(out: Path, *, torch: bool) -> None:
    """Find before the training what would stop its end. Raises `TrainerError`s."""
    missing = [name for name in ("torch", "transformers") if torch and importlib.util.find_spec(name) is None]
    if missing:
        raise TrainingExtraMissing(
            f"{' and '.join(missing)} not installed; training needs them: pip install 'touchstone[train]'"
        )
    try:
        check_id(out.name)
    except InvalidModel as error:
        raise BadName(f"--out: the folder's name becomes the verifier's id: {error}") from error
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise OutputExists(f"{out} exists and is not empty; a verifier is never written over another")


def _source(
    data: list[Path], seed: int, *, features: bool, execution: bool, epochs: int | None, minutes: float | None
) -> str:
    words = ["touchstone train verifier", *(f"--data {path.name}" for path in data), f"--seed {seed}"]
    words += ["--features"] * features + ["--no-execution"] * (not execution)
    words += [] if epochs is None else [f"--epochs {epochs}"]
    words += [] if minutes is None else [f"--minutes {minutes:g}"]
    return " ".join(words)


def _print_folds(data: list[Path], folds: int, seed: int) -> None:
    from trainer.verifier.folds import cross_validate
    from trainer.verifier.questions import load

    typer.echo(json.dumps(cross_validate(load(data), folds=folds, seed=seed).data(), indent=2))


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
