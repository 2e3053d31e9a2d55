"""The parts of a round on a cluster: tuning by Ray Train, sampling by actors, each with a worker killed."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bench.local_ray import Cluster
from engine import EngineConfig
from feedback import prompt_hash, suite_to_data
from sandbox import AssertSuite
from tests.trainer.tuning.made import write_plan
from trainer import BadPlan, BadSetting, TrainerError
from trainer.groups import Group
from trainer.rounds.asked import Answers, Ask
from trainer.rounds.config import load
from trainer.rounds.on_ray import ray_sampler
from trainer.tuning import MetricsReader, Recipe, on_ray, read_metrics, read_plan
from trainer.tuning.tune import tune

pytestmark = [pytest.mark.ray, pytest.mark.isolation, pytest.mark.filterwarnings("ignore")]
RIGHT, WRONG = "    return x + x\n", "    return x\n"


def said(_: str) -> None:
    """Nobody listens."""


def on_cluster(plan: Path, address: str) -> None:
    plan.write_text(json.dumps(json.loads(plan.read_text()) | {"processes": 2, "ray": address}))


def values(plan: Path, kind: str, name: str) -> list[float]:
    return [line[name] for line in read_metrics(read_plan(plan).metrics) if line["kind"] == kind]


def test_workers_of_ray_train_lose_as_a_process_here_though_one_is_killed(cluster: Cluster, tmp_path: Path) -> None:
    recipe = Recipe(epochs=40, prompts=3, responses=3, rate=2e-3, pass_tokens=100, checkpoint_steps=1)
    here, there = write_plan(tmp_path, recipe, name="here"), write_plan(tmp_path, recipe, name="there")
    on_cluster(there, cluster.address)
    process = subprocess.Popen([sys.executable, "-m", "trainer.tuning", str(there)], stderr=subprocess.PIPE, text=True)
    tune(read_plan(here), said)
    reader, steps, until = MetricsReader(read_plan(there).metrics), 0, time.monotonic() + 90
    while steps < 5:
        steps += sum(line["kind"] == "step" for line in reader.new()[0])
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < until
        time.sleep(0.05)
    cluster.actors("RayTrainWorker")[0].kill()
    _, errors = process.communicate(timeout=90)
    assert process.returncode == 0, errors
    assert read_plan(there).out.is_dir()
    for kind, name in (("step", "loss"), ("step", "grad_norm"), ("held_out", "nll"), ("held_out", "pair_accuracy")):
        assert values(there, kind, name) == pytest.approx(values(here, kind, name), rel=1e-4), name
    assert values(there, "run", "processes") == [2]


def test_what_a_worker_cannot_do_is_said(cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(on_ray, "_TIMES", 0)  # so often would it be tried again
    plan = write_plan(tmp_path, Recipe(epochs=3, prompts=3, rate=1e30))
    on_cluster(plan, cluster.address)
    with pytest.raises(TrainerError, match=r"Ray Train gave up: [\s\S]*a lower recipe.rate may help"):
        on_ray.tune_on_ray(read_plan(plan), plan)


def test_a_loss_that_trains_in_one_process_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadSetting, match="ray: dpo trains in one process"):
        load(None, {"state_dir": tmp_path, "trainer": {"ray": "auto", "recipe": {"loss": "dpo"}}})
    plan = write_plan(tmp_path, Recipe(loss="dpo"))
    plan.write_text(json.dumps(json.loads(plan.read_text()) | {"ray": "auto"}))
    with pytest.raises(BadPlan, match="ray: dpo trains in one process"):
        read_plan(plan)


def test_a_round_goes_on_without_its_cluster(tmp_path: Path) -> None:
    on_ray, here = (load(None, {"state_dir": tmp_path, "trainer": {"ray": ray}}) for ray in ("auto", None))
    assert on_ray.trainer.ray == "auto"
    assert on_ray.digest() == here.digest()


async def test_every_prompt_is_answered_though_an_engine_is_killed(cluster: Cluster, tmp_path: Path) -> None:
    script = tmp_path / "script.json"
    script.write_text(json.dumps({"": [RIGHT, WRONG]}))
    groups = [judged(number) for number in range(60)]
    path = tmp_path / "champion.jsonl"
    told: list[int] = []
    killed = []

    def tell(count: int) -> None:
        told.append(count)
        if count == 5:
            killed.append(cluster.actors("Asked")[0])
            killed[0].kill()

    config = EngineConfig(type="scripted", script=script)
    async with ray_sampler(cluster.address, config, tmp_path, engines=2, cpus=1) as sampler:
        ask = Ask(source="student", info=sampler.info, n=2, temperatures=(1.0,))
        await asyncio.wait_for(Answers(path, ask).fill(groups, sampler, tell), 90)
        answers = Answers(path, ask)  # as the next start reads it
        await answers.fill(groups, sampler, told.append)
    assert killed
    assert len(path.read_text().splitlines()) == 60
    for group in groups:
        assert {each.program_class for each in answers.of(group) or ()} == {"pass", "partial"}


def judged(number: int) -> Group:
    prompt = {"kind": "text", "text": f"def double(x, y={number}):\n"}
    return Group(
        prompt=prompt,
        prompt_hash=prompt_hash(prompt),
        split="train",
        task={"shape": "completion", "prefix": None, "suffix": "", "entry_point": "double"},
        suite=suite_to_data(AssertSuite("assert double(2) == 4\nassert double(0) == 0\n", visible=False)),
        responses=(),
    )
