"""`touchstone serve`: flags on top of environment and file, then one process until it is told to stop."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(add_completion=False, help="Serve a model behind the OpenAI API.", pretty_exceptions_enable=False)


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0 takes any free one.")] = None,
    config: Annotated[Path | None, typer.Option(help="Configuration file; ./touchstone.toml if it is there.")] = None,
    state_dir: Annotated[Path | None, typer.Option(help="Folder of models, log and caches.")] = None,
    model: Annotated[str | None, typer.Option(help="Model to serve; the champion if not given.")] = None,
    engine: Annotated[
        str | None, typer.Option(help="ctranslate2, cpu, vllm, transformers, openai or scripted.")
    ] = None,
    dtype: Annotated[str | None, typer.Option(help="Type to compute in.")] = None,
) -> None:
    """Serve a model behind the OpenAI API until SIGTERM or Ctrl-C."""
    # Imported here so that `--help` costs nothing.
    from server import logs
    from server.config import ConfigError, load
    from server.run import Process, StartFailed, say

    flags = {
        "state_dir": state_dir,
        "server": {"host": host, "port": port},
        "engine": {"model": model, "type": engine, "dtype": dtype},
    }
    try:
        resolved = load(config, flags)
        logs.configure(resolved.log.format, access=resolved.log.access)
        say(f"configuration {resolved.digest()}: {resolved.changed()}")
        Process(resolved).run()
    except (ConfigError, StartFailed) as error:
        typer.echo(f"touchstone serve: {error}", err=True)
        raise typer.Exit(2) from None


def main(args: list[str]) -> None:
    """Run with these arguments, as `touchstone serve`."""
    app(args, prog_name="touchstone serve")


if __name__ == "__main__":
    app()
