"""The one console command: `touchstone serve | models | feedback | eval | train | sandbox | version`.

Each sub-command belongs to its package and is imported only when it is called, so that help and a mistyped word cost
nothing. Knows no options of theirs: everything after the sub-command's name is handed on.
"""

from __future__ import annotations

from importlib import import_module

import typer

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Serves code models behind the OpenAI API and gives back the completion that proves itself.",
)
_HAND_ON = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}


def _forward(module: str, name: str, args: list[str]) -> None:
    """Call `main(args)` of a package's own command module, or run its Typer app."""
    commands = import_module(module)
    if hasattr(commands, "app"):
        commands.app(args, prog_name=f"touchstone {name}")
    else:
        raise SystemExit(commands.main(args))


@app.command(context_settings=_HAND_ON)
def serve(context: typer.Context) -> None:
    """Serve a model behind the OpenAI API."""
    _forward("server.cli", "serve", context.args)


@app.command(context_settings=_HAND_ON)
def models(context: typer.Context) -> None:
    """List, pull, convert, calibrate and verify models."""
    _forward("engine.cli", "models", context.args)


@app.command(context_settings=_HAND_ON)
def feedback(context: typer.Context) -> None:
    """Look into the log, export it, verify it."""
    _forward("feedback.cli", "feedback", context.args)


@app.command("eval", context_settings=_HAND_ON)
def evaluate(context: typer.Context) -> None:
    """Measure pass@k and best-of-n of a model on a suite of problems."""
    _forward("reranker.evaluation.cli", "eval", context.args)


@app.command(context_settings=_HAND_ON)
def train(context: typer.Context) -> None:
    """Train the bundled model."""
    _forward("trainer.cli", "train", context.args)


@app.command(context_settings=_HAND_ON)
def sandbox(context: typer.Context) -> None:
    """Run one program against tests in the sandbox."""
    _forward("sandbox.__main__", "sandbox", context.args)


@app.command()
def version() -> None:
    """Print the version."""
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as installed

    try:
        typer.echo(installed("touchstone"))
    except PackageNotFoundError:
        typer.echo("0+unknown")


def main() -> None:
    """The console command."""
    app(prog_name="touchstone")


if __name__ == "__main__":
    main()
