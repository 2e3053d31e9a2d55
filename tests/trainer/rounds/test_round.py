"""A round from the log to the champion, with real parts; killed, short of disk, refused, too early."""

import asyncio
import errno
import json
import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from engine import ModelStore
from feedback import SqlStore
from tests.trainer.rounds.made import CHAMPION, ROUND, changed, config_of, settings
from trainer import BadSetting, NotEnough, OtherRun, RoundFailed, RoundRunning, TrainerError
from trainer.rounds.config import load
from trainer.rounds.folder import Rounds
from trainer.rounds.round import STEPS, run_round
from trainer.rounds.told import Silent
from trainer.rounds.watch import Watch, seconds_of
from trainer.tuning import read_metrics

pytestmark = pytest.mark.long


def command(state: Path, *more: str) -> list[str]:
    return [
        *(sys.executable, "-m", "touchstone", "train", "round"),
        *("--config", str(state / "touchstone.toml"), "--state-dir", str(state), *more),
    ]


async def test_a_round_makes_the_next_champion(evaluated: Path) -> None:
    folder, result = await run_round(changed(evaluated), Silent())
    assert result.ending == "published"
    store = ModelStore(evaluated)
    champion = store.champion()
    assert champion is not None
    assert (champion.id, store.previous_champion()) == (ROUND, CHAMPION)
    assert (champion.manifest.parent, champion.manifest.round) == (CHAMPION, 1)
    assert champion.manifest.conversions == ("float32", "int8")
    assert store.verify(champion) == ()
    evaluation = champion.manifest.evaluation
    assert evaluation is not None
    assert evaluation["gate"]["passed"] is True
    assert len(evaluation["self_check"]) == 4
    assert [folder.is_done(step) for step in STEPS] == [True] * len(STEPS)
    page = (folder.path / "report.html").read_text()
    assert "pass@1 by round" in page
    assert "<svg" in page
    assert not list(folder.path.glob(".*"))
    facts = json.loads((folder.path / "round.json").read_text())
    assert facts["config"]["recipe"]["prompts"] == 4
    assert (folder.of("train") / "metrics.jsonl").read_text().count('"kind": "step"') >= 1


async def test_a_refused_round_publishes_nothing_and_says_why(evaluated: Path) -> None:
    folder, result = await run_round(changed(evaluated, gate__least_gain=0.9), Silent())
    store = ModelStore(evaluated)
    assert result.ending == "refused"
    assert "gate.least_gain" in result.reason
    assert ROUND not in [model.id for model in store.list()]
    [refusal] = store.refused()
    assert (refusal.id, refusal.reason) == (ROUND, result.reason)
    champion = store.champion()
    assert champion is not None
    assert champion.id == CHAMPION
    assert "Refused by the gate" in (folder.path / "report.html").read_text()


async def test_too_little_to_learn_from_is_said_and_leaves_no_round_behind(state: Path) -> None:
    with pytest.raises(NotEnough, match=r"trainer\.groups\.least is 500"):
        await run_round(config_of(state, groups__least=500), Silent())
    rounds = Rounds(state / "rounds")
    assert rounds.unfinished() is None
    assert rounds.last() is None
    with pytest.raises(NotEnough):  # its number was not used up
        await run_round(config_of(state, groups__least=501), Silent())
    assert [each.path.name for each in rounds.all()] == [ROUND]


async def test_two_rounds_never_run_on_one_state_folder(state: Path) -> None:
    with Rounds(state / "rounds").locked(), pytest.raises(RoundRunning):
        await run_round(config_of(state), Silent())


async def test_a_round_cut_short_is_not_gone_on_with_by_other_settings(state: Path) -> None:
    with pytest.raises(RoundFailed, match=r"train: (?s:.*)nothing to train on"):
        await run_round(config_of(state, recipe__max_tokens=2), Silent())
    with pytest.raises(OtherRun, match="--discard"):
        await run_round(config_of(state, groups__least=500), Silent())
    with pytest.raises(NotEnough):
        await run_round(config_of(state, groups__least=500), Silent(), discard=True)


async def test_a_champion_set_meanwhile_stays(evaluated: Path) -> None:
    told = _Switching(evaluated)
    _, result = await run_round(changed(evaluated), told)
    store = ModelStore(evaluated)
    champion = store.champion()
    assert champion is not None
    assert champion.id == "touchstone-3.8m"
    assert ROUND in [model.id for model in store.list()]
    assert "the champion is touchstone-3.8m" in result.reason


class _Switching(Silent):
    """Sets another champion as soon as the gate has spoken."""

    def __init__(self, state: Path) -> None:
        self._state = state

    def begin(self, step: str) -> None:
        if step == "publish":
            ModelStore(self._state).set_champion(CHAMPION, "touchstone-3.8m")


async def test_an_adapter_trained_by_two_processes_becomes_a_whole_model(evaluated: Path) -> None:
    for step in ("samples", "train", "merge", "convert", "evaluate"):
        shutil.rmtree(evaluated / "rounds" / ROUND / step)
    config = changed(evaluated, recipe__lora_rank=4, recipe__rate=1e-3, processes=2, samples__n=2)
    folder, result = await run_round(config, Silent())
    assert result.ending == "published"
    store = ModelStore(evaluated)
    assert _size(store.get(ROUND).hf) > 0.9 * _size(store.get(CHAMPION).hf)  # the whole of it, not the adapter
    assert {path.name for path in store.get(ROUND).adapter.glob("adapter_*")} == {
        "adapter_config.json",
        "adapter_model.safetensors",
    }  # which is there too, for engines that put it on the champion's weights
    [run] = [line for line in read_metrics(folder.of("train") / "metrics.jsonl") if line["kind"] == "run"]
    assert (run["processes"], run["recipe"]["lora_rank"]) == (2, 4)
    asked = (folder.path.parent / "samples").glob("champion-*.jsonl")
    assert sum(len(path.read_text().splitlines()) for path in asked) == 16


def test_killed_in_every_step_it_goes_on_and_nothing_half_made_is_ever_listed(state: Path) -> None:
    chance = random.Random(3)
    for step in STEPS:
        _kill_in(state, step, chance.random())
        models = ModelStore(state).list()
        assert all(ModelStore(state).verify(model) == () for model in models)
        champion = ModelStore(state).champion()
        assert champion is not None
        assert champion.id in (CHAMPION, ROUND)
        assert champion.id == CHAMPION or step == "publish"
    ended = subprocess.run(command(state), capture_output=True, text=True, check=False, timeout=300)
    assert ended.returncode == 0, ended.stderr
    champion = ModelStore(state).champion()
    assert champion is not None
    assert champion.id == ROUND
    [only] = Rounds(state / "rounds").all()
    assert only.result is not None


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("*.safetensors"))


def _kill_in(state: Path, step: str, after_s: float) -> None:
    """Start the command and kill it, and what it started, a moment after a step has begun; some last no time at all."""
    folder = state / "rounds" / ROUND
    process = subprocess.Popen(
        command(state), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    deadline = time.monotonic() + 240
    while not (folder / f".{step}").exists() and not (folder / step).exists() and time.monotonic() < deadline:
        assert process.poll() is None
        time.sleep(0.001)
    time.sleep(after_s if step in ("train", "convert", "evaluate") else after_s / 20)
    process.kill()
    process.wait()
    assert time.monotonic() < deadline


@pytest.mark.skipif(os.geteuid() != 0, reason="a disk of its own must be mounted")
def test_a_full_disk_at_conversion_is_said_and_leaves_the_champion(evaluated: Path, tmp_path: Path) -> None:
    for step in ("convert", "evaluate"):
        shutil.rmtree(evaluated / "rounds" / ROUND / step)
    disk = tmp_path / "disk"
    disk.mkdir()
    size = sum(path.stat().st_size for path in evaluated.rglob("*") if path.is_file())
    _mount(disk, size + 30_000_000)
    try:
        small = disk / "state"
        shutil.copytree(evaluated, small)
        changed(small, dtypes=["int8", "float32", "float16", "bfloat16", "int8_float16", "int8_bfloat16"])
        ended = subprocess.run(command(small), capture_output=True, text=True, check=False, timeout=300)
        assert ended.returncode == 2
        assert "convert: " in ended.stderr
        assert os.strerror(errno.ENOSPC) in ended.stderr
        champion = ModelStore(small).champion()
        assert champion is not None
        assert champion.id == CHAMPION
        assert ROUND not in [model.id for model in ModelStore(small).list()]
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def _mount(disk: Path, size: int) -> None:
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(disk)], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("groups__lest", 3, r"trainer\.groups\.lest: unknown key"),
        ("recipe__epochs", 0, r"trainer\.recipe\.epochs"),
        ("recipe__loss", "ppo", r"trainer\.recipe\.loss"),
        ("dtypes", [], "dtypes"),
        ("dtypes", ["int8", "int8"], "dtypes: one is named twice"),
        ("evaluation__suites", ["bundled", "bundled"], r"evaluation\.suites: one is named twice"),
        ("evaluation__n", 0, r"trainer\.evaluation\.n"),
        ("share", 0, r"trainer\.share"),
    ],
)
def test_a_setting_that_cannot_be_is_named(tmp_path: Path, name: str, value: object, message: str) -> None:
    with pytest.raises(BadSetting, match=message):
        load(settings(tmp_path, **{name: value}), {"state_dir": tmp_path})


def test_flags_win_over_the_environment_and_that_over_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = settings(tmp_path, groups__least=5)
    assert load(path, {"state_dir": tmp_path}).trainer.groups.least == 5
    monkeypatch.setenv("TOUCHSTONE_TRAINER__GROUPS__LEAST", "6")
    assert load(path, {"state_dir": tmp_path}).trainer.groups.least == 6
    assert load(path, {"state_dir": tmp_path, "trainer": {"groups": {"least": 7}}}).trainer.groups.least == 7


def test_what_would_be_passed_over_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = settings(tmp_path)
    teacher = {"name": "t", "file": "solutions.jsonl", "n": 2}
    for trainer, message in (
        ({"teachers": [teacher]}, "n and temperatures"),
        ({"recipe": {"loss": "dpo"}, "processes": 2}, "processes: dpo"),
    ):
        with pytest.raises(BadSetting, match=message):
            load(path, {"state_dir": tmp_path, "trainer": trainer})
    monkeypatch.setenv("TOUCHSTONE_TRAINER__GROUPS", "5")
    monkeypatch.setenv("TOUCHSTONE_TRAINER__GROUPS__LEAST", "6")
    with pytest.raises(BadSetting, match="TOUCHSTONE_TRAINER__GROUPS"):
        load(path, {"state_dir": tmp_path})


async def test_watch_waits_for_enough_and_for_a_quiet_log(state: Path) -> None:
    told = _Lines()
    await Watch(every_s=1, min_groups=1000, idle_s=0).run(config_of(state), told, once=True)
    assert "16 new prompts in the log, a round is made of 1000" in told.lines[-1]
    await Watch(every_s=1, min_groups=1, idle_s=3600).run(config_of(state), told, once=True)
    assert told.lines[-1].startswith("busy")
    await Watch(every_s=1, min_groups=16, idle_s=0).run(config_of(state, groups__least=500), told, once=True)
    assert told.lines[-1].endswith("trainer.groups.least is 500")


async def test_watch_goes_on_with_a_round_cut_short_and_then_waits_for_more(evaluated: Path) -> None:
    told, watch = _Lines(), Watch(every_s=1, min_groups=1000, idle_s=0)
    await watch.run(changed(evaluated), told, once=True)
    assert told.lines[-1].startswith("published")
    await watch.run(config_of(evaluated), told, once=True)
    assert told.lines[-1].startswith("0 new prompts")


async def test_watch_outlives_what_goes_wrong_and_once_raises_it(tmp_path: Path) -> None:
    await SqlStore.open(tmp_path / "touchstone.db").aclose()
    config = load(settings(tmp_path), {"state_dir": tmp_path})
    (tmp_path / "rounds" / "x").mkdir(parents=True)
    (tmp_path / "rounds" / "x" / "round.json").write_text('{"schema_version": 1, "created_at": "today"}')
    told, watch = _Lines(), Watch(every_s=0.01, min_groups=1, idle_s=0)
    with pytest.raises(TrainerError, match=r"round\.json"):
        await watch.run(config, told, once=True)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(2):
            await watch.run(config, told)
    assert len([line for line in told.lines if "round.json" in line]) > 1


class _Lines(Silent):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def line(self, text: str) -> None:
        self.lines.append(text)


def test_times_are_read_with_their_unit() -> None:
    assert [seconds_of(text) for text in ("90s", "30m", "1.5h", "7d")] == [90, 1800, 5400, 604800]
    for text in ("24", "h", "-1h", "0s", ""):
        with pytest.raises(BadSetting, match="--every"):
            seconds_of(text)


async def test_the_database_is_not_made_by_looking(tmp_path: Path) -> None:
    told = _Lines()
    config = load(settings(tmp_path), {"state_dir": tmp_path})
    await Watch(every_s=1, min_groups=1, idle_s=0).run(config, told, once=True)
    assert told.lines[-1].startswith("no log yet")
    assert not (tmp_path / "touchstone.db").exists()
