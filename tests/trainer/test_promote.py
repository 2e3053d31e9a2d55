"""`touchstone train promote`: what it prints, what it does to the store."""

import asyncio
import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from engine import ModelStore
from feedback import Exchange, SqlStore
from tests.feedback.records import exchange
from trainer.cli import app


def add(store: ModelStore, number: int) -> str:
    with store.add(family="tiny", size="1", round=number) as draft:
        (draft.folder / "ct2-int8").mkdir()
        (draft.folder / "ct2-int8" / "model.bin").write_bytes(b"%d" % number)
    return draft.id


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    """Round 1 in a shadow contest with round 0, and won all of its six pairs."""
    store = ModelStore(tmp_path)
    first, second = add(store, 0), add(store, 1)
    store.set_champion("touchstone-3.8m", first)
    contest = store.set_challenger(first, second, mode="shadow", share=1.0)
    logged: list[Exchange] = []
    for number in range(6):
        at = contest.since + timedelta(seconds=number)
        asked = exchange(number)
        failing = tuple(replace(each, program_class="partial") for each in asked.candidates)
        asked = replace(asked, created_at=at, candidates=failing)
        shadow = replace(exchange(number, purpose="eval"), created_at=at, model="tiny:1-int8.r1", round=1)
        logged += [asked, replace(shadow, shadow_of=asked.id, id=f"shadow-{number}")]
    logged.append(replace(exchange(9), created_at=contest.since - timedelta(seconds=9)))  # before the contest

    async def write() -> None:
        log = SqlStore.open(tmp_path / "touchstone.db")
        for each in logged:
            await log.record(each)
        await log.aclose()

    asyncio.run(write())
    return store


def run(tmp_path: Path, *args: str) -> Result:
    return CliRunner().invoke(app, ["promote", "--state-dir", str(tmp_path), *args])


def test_evidence_is_shown_and_nothing_done(store: ModelStore, tmp_path: Path) -> None:
    told = json.loads(run(tmp_path, "--show").stdout)
    assert (told["id"], told["contest"]["pairs"], told["contest"]["mean"]) == ("tiny-1.r1", 6, 1.0)
    assert told["contest"]["e_better"] > 5 > 1 > told["contest"]["e_worse"]
    assert told["decision"] == "none"
    assert store.champion_id() == "tiny-1.r0"


def test_promoted_by_hand(store: ModelStore, tmp_path: Path) -> None:
    assert json.loads(run(tmp_path).stdout)["decision"] == "promote"
    assert (store.champion_id(), store.previous_champion()) == ("tiny-1.r1", "tiny-1.r0")
    assert store.challenger() is None
    done = run(tmp_path)
    assert done.exit_code == 2
    assert "no challenger" in done.output


def test_refused_by_hand(store: ModelStore, tmp_path: Path) -> None:
    assert run(tmp_path, "--refuse").exit_code == 2
    assert run(tmp_path, "--reason", "x").exit_code == 2
    assert json.loads(run(tmp_path, "--refuse", "--reason", "it swears").stdout)["decision"] == "refuse"
    [refusal] = store.refused()
    assert (refusal.id, refusal.reason) == ("tiny-1.r1", "it swears")
    assert refusal.evaluation is not None
    assert refusal.evaluation["contest"]["pairs"] == 6
    done = run(tmp_path, "--challenger", "tiny-1.r1")
    assert done.exit_code == 1
    assert "was refused" in done.stderr


def test_a_model_without_a_contest(store: ModelStore, tmp_path: Path) -> None:
    third = add(store, 2)
    told = json.loads(run(tmp_path, "--challenger", third).stdout)
    assert (told["contest"], told["decision"]) == (None, "promote")
    assert store.champion_id() == third
    assert run(tmp_path, "--challenger", "nobody").exit_code == 1


def test_without_a_log(store: ModelStore, tmp_path: Path) -> None:
    done = run(tmp_path, "--database", f"sqlite:///{tmp_path / 'none.db'}")
    assert done.exit_code == 1
    assert "no database" in done.stderr
    assert store.champion_id() == "tiny-1.r0"
