"""`python -m trainer.tuning PLAN.json`, also under `accelerate launch` and `torchrun`."""

import os
import sys
from pathlib import Path

import typer

from sandbox import SandboxUnavailable
from trainer.errors import TrainerError
from trainer.orphan import die_with_parent
from trainer.tuning.on_ray import tune_on_ray
from trainer.tuning.plan import read_plan
from trainer.tuning.tune import tune

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(plan: Path) -> None:
    """Tune a model as PLAN says; started again after a crash, it goes on from its newest checkpoint."""
    try:
        found = read_plan(plan)
        one_of_several = "RANK" in os.environ
        if found.starter is not None:
            die_with_parent(None if one_of_several else found.starter)
        if found.ray is not None:
            tune_on_ray(found, plan)
            return
        if found.processes > 1 and not one_of_several:
            from torch.distributed.run import main as torchrun

            torchrun(["--standalone", f"--nproc-per-node={found.processes}", "-m", "trainer.tuning", str(plan)])
            return
        tune(found, lambda line: typer.echo(line, err=True))
    except (TrainerError, SandboxUnavailable) as error:
        typer.echo(f"trainer.tuning: {error}", err=True)
        sys.exit(2)


if __name__ == "__main__":
    app()
