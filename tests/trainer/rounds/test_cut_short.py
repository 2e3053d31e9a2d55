"""A round cut short between two lines of its last steps; made by hand, so that nothing is trained."""

import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from engine import ModelStore, UnsupportedDtype, seal, write_json
from feedback import SqlStore, StoreFailed
from reranker.evaluation import UnknownSuite
from tests.trainer.rounds.made import CHAMPION, EARLY, ROUND, config_of
from trainer import BadGroups
from trainer.groups import Tally
from trainer.rounds.config import Config, load
from trainer.rounds.folder import Facts, RoundFolder, Rounds
from trainer.rounds.round import run_round
from trainer.rounds.told import Silent

pytestmark = pytest.mark.long


class _CutShort(Exception):
    pass


class _Cut(Silent):
    """Stands for a kill, where a round says `where`, or begins its step."""

    def __init__(self, where: str) -> None:
        self._where = where

    def begin(self, step: str) -> None:
        self.line(step)

    def line(self, text: str) -> None:
        if text == self._where:
            raise _CutShort


@pytest.fixture
async def config(tmp_path: Path) -> Config:
    """A state folder with an empty log, whose champion is not the bundled model."""
    await SqlStore.open(tmp_path / "touchstone.db").aclose()
    store = ModelStore(tmp_path)
    with store.add(family="touchstone", size="3.8m", id=CHAMPION) as draft:
        shutil.copytree(EARLY / "hf", draft.folder / "hf")
    champion = store.champion()
    assert champion is not None
    store.set_champion(champion.id, CHAMPION)
    return config_of(tmp_path, evaluation__suites=[])


def passed_the_gate(config: Config) -> RoundFolder:
    """A round with everything done but publishing."""
    folder = Rounds(config.state_dir / "rounds").create(
        Facts(
            id=ROUND,
            round=1,
            family="touchstone",
            size="3.8m",
            parent=CHAMPION,
            created_at=datetime.now(UTC),
            config=config.trainer.model_dump(mode="json"),
            config_hash=config.digest(),
            touchstone="0",
        )
    )
    for step in ("groups", "samples", "train", "merge", "convert", "evaluate", "gate"):
        folder.begin(step)
        folder.finish(step)
    write_json(folder.of("groups") / "groups.json", {"tally": Tally().to_data()})
    write_json(folder.of("samples") / "groups.json", {"hash": "b2:0", "train": 0, "held_out": 0})
    write_json(folder.of("evaluate") / "evaluation.json", {"suites": [], "self_check": []})
    write_json(folder.of("gate") / "decision.json", {"passed": True, "reasons": ["more is solved"]})
    model = folder.of("convert") / ROUND
    shutil.copytree(EARLY / "hf", model / "hf")
    seal(model, id=ROUND, family="touchstone", size="3.8m", round=1, parent=CHAMPION)
    return folder


def champions(config: Config) -> tuple[str | None, str | None]:
    store = ModelStore(config.state_dir)
    return store.champion_id(), store.previous_champion()


@pytest.mark.parametrize("discard", [False, True])
async def test_behind_the_champions_pointer_it_is_published_and_not_given_up(config: Config, *, discard: bool) -> None:
    folder = passed_the_gate(config)
    with pytest.raises(_CutShort):
        await run_round(config, _Cut(f"{ROUND}: champion"))
    assert champions(config) == (ROUND, CHAMPION)
    assert not folder.is_done("publish")
    _, result = await run_round(config, Silent(), discard=discard)
    assert (result.ending, result.reason) == ("published", "more is solved")
    assert champions(config) == (ROUND, CHAMPION)
    store = ModelStore(config.state_dir)
    assert store.verify(store.get(ROUND)) == ()
    assert not list(folder.path.rglob("*.safetensors"))
    assert len(Rounds(config.state_dir / "rounds").all()) == 1


async def test_behind_its_last_step_it_is_ended_whoever_is_champion_by_now(config: Config) -> None:
    folder = passed_the_gate(config)
    await run_round(config, Silent())
    (folder.path / "result.json").unlink()
    (folder.path / "report.html").unlink()
    ModelStore(config.state_dir).set_champion(ROUND, CHAMPION)
    _, result = await run_round(config, Silent())
    assert result.ending == "published"
    assert (folder.path / "report.html").exists()
    assert champions(config) == (CHAMPION, ROUND)


async def test_what_would_stop_a_round_at_its_end_leaves_none_behind(config: Config, tmp_path: Path) -> None:
    rounds = Rounds(config.state_dir / "rounds")
    with pytest.raises(UnknownSuite, match="nosuch"):
        await run_round(config_of(tmp_path, evaluation__suites=["nosuch.jsonl"]), Silent())
    with pytest.raises(UnsupportedDtype, match="int3"):
        await run_round(config_of(tmp_path, dtypes=["int3"], evaluation__suites=[]), Silent())
    config_of(tmp_path, evaluation__suites=[])
    flags = {"state_dir": tmp_path, "trainer": {"teachers": [{"name": "t", "file": str(tmp_path / "nosuch.jsonl")}]}}
    with pytest.raises(BadGroups, match="nosuch"):
        await run_round(load(tmp_path / "touchstone.toml", flags), Silent())
    (tmp_path / "touchstone.db").unlink()
    with pytest.raises(StoreFailed, match="no database"):
        await run_round(config_of(tmp_path, evaluation__suites=[]), Silent())
    assert rounds.all() == ()


async def test_other_settings_are_free_while_nothing_is_done(config: Config, tmp_path: Path) -> None:
    for least in (2, 3):
        with pytest.raises(_CutShort):
            await run_round(config_of(tmp_path, evaluation__suites=[], groups__least=least), _Cut("groups"))
    [only] = Rounds(config.state_dir / "rounds").all()
    assert only.facts.config["groups"]["least"] == 3


async def test_a_number_is_not_used_again_where_its_model_was_removed(config: Config) -> None:
    passed_the_gate(config)
    await run_round(config, Silent())
    ModelStore(config.state_dir).set_champion(ROUND, CHAMPION)
    shutil.rmtree(config.state_dir / "models" / ROUND)
    assert Rounds(config.state_dir / "rounds").next_round("touchstone", "3.8m") == 2
    assert ModelStore(config.state_dir).next_round("touchstone", "3.8m") == 1
