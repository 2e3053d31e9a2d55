"""The one console command: `touchstone serve | run | models | feedback | eval | rank | bench | train | loop | ...`.

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
    """Run the Typer app of a package's own command module."""
    import_module(module).app(args, prog_name=f"touchstone {name}")


def _forward_plain(module: str, prog: str, args: list[str]) -> None:
    """Call `main(args, prog)` of a command module that does without Typer, and end with its exit code."""
    raise SystemExit(import_module(module).main(args, prog))


@app.command(context_settings=_HAND_ON)
def serve(context: typer.Context) -> None:
    """Serve a model behind the OpenAI API."""
    _forward("server.cli", "serve", context.args)


@app.command(context_settings=_HAND_ON)
def run(context: typer.Context) -> None:
    """Run one program against tests in the sandbox."""
    _forward_plain("sandbox.__main__", "touchstone", ["run", *context.args])


@app.command(context_settings=_HAND_ON)
def models(context: typer.Context) -> None:
    """List, pull, convert, calibrate and verify models."""
    _forward("engine.cli", "models", context.args)


@app.command(context_settings=_HAND_ON)
def feedback(context: typer.Context) -> None:
    """Look into the log, export it, verify it."""
    _forward("feedback.cli", "feedback", context.args)


@app.command(context_settings=_HAND_ON)
def keys(context: typer.Context) -> None:
    """Create, list and revoke the keys that requests carry."""
    _forward("server.keys.cli", "keys", context.args)


@app.command("eval", context_settings=_HAND_ON)
def evaluate(context: typer.Context) -> None:
    """Measure pass@k and best-of-n of a model on a suite of problems."""
    _forward("reranker.evaluation.cli", "eval", context.args)


@app.command(context_settings=_HAND_ON)
def rank(context: typer.Context) -> None:
    """Rank completions that are given, and measure what ranks them."""
    _forward("reranker.pool.cli", "rank", context.args)


@app.command(context_settings=_HAND_ON)
def train(context: typer.Context) -> None:
    """Train: rounds from the log, the bundled model, verifiers."""
    _forward("trainer.cli", "train", context.args)


@app.command(context_settings=_HAND_ON)
def loop(context: typer.Context) -> None:
    """Show the whole loop on this machine: traffic, log, round, hot switch."""
    _forward("trainer.demo.cli", "loop", context.args)


@app.command(context_settings=_HAND_ON)
def bench(context: typer.Context) -> None:
    """Compare engines and types on this host, or put a server under load."""
    _forward("bench.cli", "bench", context.args)


@app.command(context_settings=_HAND_ON)
def sandbox(context: typer.Context) -> None:
    """Say what isolation this host grants."""
    _forward_plain("sandbox.__main__", "touchstone sandbox", context.args)


@app.command(context_settings=_HAND_ON)
def doctor(context: typer.Context) -> None:
    """Say how this install stands, and what is missing."""
    _forward("server.doctor", "doctor", context.args)


@app.command()
def version() -> None:
    """Print the version."""
    from engine import touchstone_version

    typer.echo(touchstone_version())


def main() -> None:
    """The console command."""
    app(prog_name="touchstone")


if __name__ == "__main__":
    main()
