"""A state folder with a champion to begin from and traffic in its log, both real and small."""

from __future__ import annotations

import asyncio
import json
import shutil
from dataclasses import replace
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any
from uuid import uuid4

from engine import EngineConfig, ModelStore, Priority, Sampling, build_engine, convert_folder
from feedback import SqlStore, exchange_from
from reranker import Options, best_of_n
from reranker.evaluation import Problem, task_of, write_problems
from sandbox import AssertSuite, Limits, LocalSandbox
from trainer import bundled
from trainer.rounds.config import Config, load

EARLY = Path(str(files("engine"))) / "bundled" / "touchstone-3.8m-early"
CHAMPION = "touchstone-3.8m.r0"
ROUND = "touchstone-3.8m.r1"
LIMITS = Limits(cpu_s=5.0, wall_s=20.0, test_cpu_s=1.0, test_wall_s=4.0)


def make_state(state: Path) -> None:
    """The early checkpoint as champion."""
    store = ModelStore(state)
    with store.add(family="touchstone", size="3.8m", id=CHAMPION) as draft:
        shutil.copytree(EARLY / "hf", draft.folder / "hf")
        convert_folder(draft.folder / "hf", draft.folder / "ct2-int8", "int8")
    champion = store.champion()
    assert champion is not None
    store.set_champion(champion.id, CHAMPION)


async def log_traffic(state: Path, problems: list[Problem], n: int) -> None:
    """Ask the champion for every problem, with its hidden tests, and log it as the server does."""
    store = SqlStore.open(state / "touchstone.db")
    sandbox = LocalSandbox()
    engine = await build_engine(EngineConfig(), ModelStore(state))
    try:
        for problem in problems:
            task = task_of(problem)
            task = replace(task, id=f"cmpl-{uuid4()}", suite=AssertSuite(problem.test or "", visible=False))
            options = Options(
                method="tests",
                num_candidates=n,
                include_greedy=False,
                early_exit="off",
                limits=LIMITS,
                priority=Priority.BATCH,
                sampling=Sampling(temperature=0.8, top_p=0.95, max_tokens=128),
            )
            ranking = await best_of_n(task, options, engine=engine, sandbox=sandbox)
            info = engine.info
            await store.record(
                exchange_from(
                    ranking,
                    id=task.id,
                    created_at=datetime.now(UTC),
                    route="/v1/completions",
                    purpose="traffic",
                    key_id=None,
                    session_id=None,
                    model=info.model,
                    round=0,
                    engine=info.engine,
                    dtype=info.dtype,
                    config_hash="b2:0",
                )
            )
    finally:
        await engine.aclose()
        await sandbox.aclose()
        await store.aclose()


def make_all(state: Path, *, traffic: int = 16, held_out: int = 12, n: int = 6) -> Path:
    """State, log and a settings file that lets any model through; the file."""
    make_state(state)
    asyncio.run(log_traffic(state, bundled.apart(traffic, 5), n))
    write_problems(state / "suite.jsonl", bundled.held_out(held_out, 9))
    return settings(state)


def settings(state: Path, **changes: Any) -> Path:
    """A settings file."""
    values: dict[str, Any] = {
        "threads": 1,
        "nice": 0,
        "dtypes": ["int8", "float32"],
        "groups.least": 2,
        "groups.passing": False,
        "groups.held_out_share": 0.0,
        "evaluation.suites": [str(state / "suite.jsonl")],
        "evaluation.n": 1,
        "gate.least_gain": -1.0,
        "gate.most_lost_variety": 1.0,
        "gate.most_lost_quantised": 1.0,
        "gate.least_problems": 1,
        "recipe.epochs": 1,
        "recipe.prompts": 4,
        "recipe.responses": 3,
        "recipe.checkpoint_steps": 1,
    } | {name.replace("__", "."): value for name, value in changes.items()}
    lines = ["[trainer]", *(f"{name} = {json.dumps(value)}" for name, value in values.items())]
    path = state / "touchstone.toml"
    path.write_text("\n".join(lines) + "\n")
    return path


def config_of(state: Path, **changes: Any) -> Config:
    """The settings, read."""
    return load(settings(state, **changes), {"state_dir": state})


def changed(state: Path, **changes: Any) -> Config:
    """Other settings for a round that has begun, as if it had begun with them."""
    config = config_of(state, **changes)
    path = state / "rounds" / ROUND / "round.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"config_hash": config.digest()}))
    return config
