"""`python -m trainer.tuning PLAN.json`, also under `accelerate launch` and `torchrun`."""

import sys
from pathlib import Path

import typer

from trainer.errors import TrainerError
from trainer.tuning.plan import read_plan
from trainer.tuning.tune import tune

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(plan: Path) -> None:
    """Tune a model as PLAN says; started again after a crash, it goes on from its newest checkpoint."""
    try:
        tune(read_plan(plan), lambda line: typer.echo(line, err=True))
    except TrainerError as error:
        typer.echo(f"trainer.tuning: {error}", err=True)
        sys.exit(2)


if __name__ == "__main__":
    app()
