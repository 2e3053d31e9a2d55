"""What one tuning reads and writes, as a JSON file: the edge between a round and the process that trains for it."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError, with_config

from trainer.errors import BadPlan
from trainer.tuning.recipe import BY_TRL, Recipe


@with_config(ConfigDict(extra="forbid"))
@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One tuning."""

    base: Path
    """`hf` folder of the model to begin from."""
    groups: Path
    """JSON lines, one `trainer.groups.Group` each."""
    out: Path
    """Folder to make: an `hf` folder, or an adapter where `recipe.lora_rank` is set. It appears whole or not at all."""
    checkpoints: Path
    """Folder for checkpoints and `metrics.jsonl`; a tuning that was cut short goes on from there."""
    recipe: Recipe = field(default_factory=Recipe)
    threads: int | None = None
    """Of torch, a process; None leaves torch's own choice."""
    processes: int = 1
    """On this machine; `torchrun` starts them. Those of several machines are started by hand."""
    ray: str | None = None
    """`host:port` or `auto`: the processes are Ray Train's on that cluster, whose nodes all know these paths."""
    starter: int | None = None
    """Process that starts it, with which it ends; None: it may outlive whoever started it."""

    @property
    def metrics(self) -> Path:
        """Where the lines go."""
        return self.checkpoints / "metrics.jsonl"


def read_plan(path: Path) -> Plan:
    """Read and check a plan. Raises `BadPlan` naming the field."""
    try:
        plan = TypeAdapter(Plan).validate_json(path.read_bytes())
    except OSError as error:
        raise BadPlan(f"{path}: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the plan"
        raise BadPlan(f"{path}: {where}: {first['msg']}") from error
    for name, folder in (("base", plan.base / "config.json"), ("groups", plan.groups)):
        if not folder.is_file():
            raise BadPlan(f"{path}: {name}: {folder} is not there")
    for name in ("threads", "processes"):
        if (value := getattr(plan, name)) is not None and value < 1:
            raise BadPlan(f"{path}: {name}: must be at least 1, not {value}")
    if plan.ray is not None and plan.recipe.loss in BY_TRL:
        raise BadPlan(f"{path}: ray: {plan.recipe.loss} trains in one process here")
    if plan.checkpoints.resolve().is_relative_to(plan.out.resolve()):
        raise BadPlan(f"{path}: checkpoints: {plan.checkpoints} is inside {plan.out}, which is written at the end")
    return plan


def plan_to_json(plan: Plan) -> str:
    """What `read_plan` reads."""
    return TypeAdapter(Plan).dump_json(plan, indent=2).decode() + "\n"


def fingerprint(plan: Plan, processes: int) -> dict[str, Any]:
    """What makes two tunings the same: checkpoints and results of another are not taken over."""
    with plan.groups.open("rb") as file:
        groups = hashlib.file_digest(file, "sha256").hexdigest()
    recipe = {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(plan.recipe).items()}
    return {"base": str(plan.base.resolve()), "groups": groups, "processes": processes, "recipe": recipe}
