"""What would stop a round at its end is found before it begins, and before a folder says that it has begun."""

from __future__ import annotations

import asyncio
import importlib.util

from engine import Model, check_convertible
from feedback import SqlStore
from reranker.evaluation import load_suite
from trainer.errors import BadSetting, TrainingExtraMissing
from trainer.groups import read_teachers
from trainer.rounds.config import Config
from trainer.tuning import BY_TRL


async def check_early(config: Config, parent: Model) -> None:
    """Raises `TrainingExtraMissing`, `BadSetting`, `BadGroups` for a teacher's file, and what engine, log and suites
    raise.
    """
    trainer = config.trainer
    needed = ["torch", "transformers", "accelerate"]
    needed += ["peft"] if trainer.recipe.lora_rank is not None else []
    needed += ["trl"] if trainer.recipe.loss in BY_TRL else []
    if missing := [name for name in needed if importlib.util.find_spec(name) is None]:
        raise TrainingExtraMissing(f"{' and '.join(missing)} not installed; run: pip install 'touchstone[train]'")
    if not (parent.hf / "config.json").exists():
        raise BadSetting(f"{parent.id} has no hf/ folder, which training begins from")
    for dtype in trainer.dtypes:
        check_convertible(parent.hf, dtype)
    for name in trainer.evaluation.suites:
        load_suite(name)
    read_teachers([teacher.file for teacher in trainer.teachers if teacher.file is not None])
    log = await asyncio.to_thread(SqlStore.open, config.database_url, create=False)
    await log.aclose()
