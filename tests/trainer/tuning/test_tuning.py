"""Whole tunings of a tiny model: by every loss, cut short and gone on, by two processes, with LoRA."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file
from typer.testing import CliRunner

from tests.trainer.tuning.made import made_groups, write_plan
from trainer import BadCheckpoints, BadPlan, Diverged, NothingToLearn, OtherRun, OutputExists
from trainer.tuning import Recipe, read_metrics, read_plan
from trainer.tuning.__main__ import app
from trainer.tuning.model import load_base, merge
from trainer.tuning.tune import tune

pytestmark = pytest.mark.long

SMALL: dict[str, Any] = {"epochs": 2, "prompts": 3, "responses": 3, "rate": 2e-3}


def said(_: str) -> None:
    """Nobody listens."""


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(next(folder.glob("*.safetensors")))


def lines(plan: Path, kind: str) -> list[dict[str, Any]]:
    return [line for line in read_metrics(read_plan(plan).metrics) if line["kind"] == kind]


@pytest.mark.parametrize(
    "settings",
    [
        {"loss": "rrtf"},
        {"loss": "rrtf", "layout": "plain", "ft_reduction": "sum", "schedule": "linear"},
        {"loss": "rank"},
        {"loss": "rrhf", "gradient_checkpointing": True},
        {"loss": "sft", "weight_decay": 0.1},
        {"loss": "oreal", "kl": 0.01, "best_of": 4},
        {"loss": "rrtf", "dtype": "bfloat16", "schedule": "constant"},
    ],
    ids=lambda settings: "-".join(map(str, settings.values())),
)
def test_a_tuning_makes_a_model(settings: dict[str, Any], tmp_path: Path) -> None:
    path = write_plan(tmp_path, Recipe(**{**SMALL, **settings}))
    plan = read_plan(path)
    tune(plan, said)
    steps, held_out, [run] = lines(path, "step"), lines(path, "held_out"), lines(path, "run")
    assert [line["step"] for line in steps] == list(range(1, 7))
    assert [line["epoch"] for line in held_out] == [0, 1, 2]
    assert run["layout"] == steps[0]["layout"] == ("plain" if settings.get("layout") == "plain" else "packed")
    if settings["loss"] != "rank":
        assert steps[-1]["loss"] < steps[0]["loss"]
        assert held_out[-1]["nll"] < held_out[0]["nll"]
    before, after = weights(plan.base), weights(plan.out)
    assert before.keys() == after.keys()
    assert all(torch.isfinite(value).all() for value in after.values())
    assert any(not torch.equal(before[name], after[name]) for name in before)
    assert (plan.out / "tokenizer.json").read_bytes() == (plan.base / "tokenizer.json").read_bytes()
    untyped: Any = transformers
    assert untyped.AutoModelForCausalLM.from_pretrained(plan.out).config.model_type == "llama"
    assert "shared_prefix" not in (plan.out / "config.json").read_text()


def test_both_layouts_train_the_same_model(tmp_path: Path) -> None:
    found = {}
    for layout in ("packed", "plain"):
        recipe = Recipe(**SMALL, layout=layout, pass_tokens=150)
        path = write_plan(tmp_path, recipe, name=layout)
        tune(read_plan(path), said)
        found[layout] = [line["loss"] for line in lines(path, "step")]
    assert found["packed"] == pytest.approx(found["plain"], rel=1e-4)


def test_passes_do_not_change_a_step(tmp_path: Path) -> None:
    losses = []
    for tokens in (8192, 1):
        path = write_plan(tmp_path, Recipe(**SMALL, pass_tokens=tokens), name=str(tokens))
        tune(read_plan(path), said)
        losses.append([line["loss"] for line in lines(path, "step")])
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def started(path: Path, *launcher: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-W", "ignore", *launcher, "-m", "trainer.tuning", str(path)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)


def test_killed_at_any_moment_it_ends_with_the_same_bits(tmp_path: Path) -> None:
    recipe = Recipe(**{**SMALL, "epochs": 30}, checkpoint_steps=3)
    whole, cut = write_plan(tmp_path, recipe, name="whole"), write_plan(tmp_path, recipe, name="cut")
    tune(read_plan(whole), said)
    plan, process = read_plan(cut), started(cut)
    try:
        while len(read_metrics(plan.metrics)) < 20 and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
    finally:
        process.wait()
        if process.stderr:
            process.stderr.close()
    assert not plan.out.exists()
    done = len(lines(cut, "step"))
    assert 0 < done < 90
    tune(plan, said)
    assert [line["step"] for line in lines(cut, "step")] == list(range(1, 91)), "no step twice"
    one, other = weights(read_plan(whole).out), weights(plan.out)
    assert all(torch.equal(one[name], other[name]) for name in one)
    written = plan.out.stat().st_mtime_ns
    tune(plan, said)  # what is done is not done again
    assert plan.out.stat().st_mtime_ns == written


def test_two_processes_lose_as_one(tmp_path: Path) -> None:
    recipe = Recipe(**SMALL, pass_tokens=100)
    one, two = write_plan(tmp_path, recipe, name="one"), write_plan(tmp_path, recipe, name="two")
    tune(read_plan(one), said)
    two.write_text(json.dumps(json.loads(two.read_text()) | {"processes": 2}))
    process = started(two)
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    assert lines(two, "run")[0]["processes"] == 2
    for kind, name in (("step", "loss"), ("step", "grad_norm"), ("held_out", "nll"), ("held_out", "pair_accuracy")):
        values = [[line[name] for line in lines(path, kind)] for path in (one, two)]
        assert values[0] == pytest.approx(values[1], rel=1e-5), name


def test_a_tuning_of_a_round_ends_with_the_round(tmp_path: Path) -> None:
    path = write_plan(tmp_path, Recipe(**{**SMALL, "epochs": 1000}), name="orphan")
    code = """
import json, os, pathlib, subprocess, sys, time
plan = pathlib.Path(sys.argv[-1])
plan.write_text(json.dumps(json.loads(plan.read_text()) | {"starter": os.getpid()}))
print(subprocess.Popen(sys.argv[1:]).pid, flush=True)
time.sleep(600)
"""
    parent = subprocess.Popen(
        [sys.executable, "-c", code, sys.executable, "-m", "trainer.tuning", str(path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    deadline = time.monotonic() + 120
    while not lines(path, "step") and time.monotonic() < deadline:
        time.sleep(0.05)
    parent.kill()
    parent.communicate()
    while _lives(child) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert time.monotonic() < deadline


def test_a_tuning_whose_starter_is_gone_ends_at_once() -> None:
    code = "import os, sys; from trainer.orphan import die_with_parent; die_with_parent(eval(sys.argv[1]))"
    ended = [
        subprocess.run([sys.executable, "-c", code, parent], check=False).returncode
        for parent in ("os.getppid()", "os.getpid()", "None")
    ]
    assert ended == [0, -signal.SIGKILL, 0]


def _lives(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def test_an_adapter_merges_into_what_it_was(tmp_path: Path) -> None:
    import peft

    path = write_plan(tmp_path, Recipe(**{**SMALL, "rate": 1e-2}, lora_rank=2, lora_targets=("q_proj", "v_proj")))
    plan = read_plan(path)
    tune(plan, said)
    assert (plan.out / "adapter_model.safetensors").is_file()
    assert not (plan.out / "model.safetensors").exists()
    merge(plan.out, plan.base, tmp_path / "merged")
    untyped: Any = transformers
    merged = untyped.AutoModelForCausalLM.from_pretrained(tmp_path / "merged").eval()
    adapted: Any = peft.PeftModel.from_pretrained(load_base(plan.base), str(plan.out)).eval()
    ids = torch.tensor([[1, 5, 9, 30]])
    with torch.no_grad():
        torch.testing.assert_close(merged(ids).logits, adapted(ids).logits, rtol=1e-4, atol=1e-5)
        assert not torch.allclose(merged(ids).logits, load_base(plan.base)(ids).logits, atol=1e-4)
    assert (tmp_path / "merged" / "tokenizer.json").is_file()


def test_half_precision_goes_back_as_it_came(tmp_path: Path) -> None:
    path = write_plan(tmp_path, Recipe(**SMALL))
    plan = read_plan(path)
    load_base(plan.base).half().save_pretrained(plan.base)
    tune(plan, said)
    assert {value.dtype for value in weights(plan.out).values()} == {torch.float16}
    assert json.loads((plan.out / "config.json").read_text())["dtype"] == "float16"


def test_anothers_work_is_not_taken_over(tmp_path: Path) -> None:
    path = write_plan(tmp_path, Recipe(**SMALL))
    tune(read_plan(path), said)
    other = write_plan(tmp_path, Recipe(**SMALL, seed=1))
    with pytest.raises(OutputExists, match="out"):
        tune(read_plan(other), said)
    read_plan(path).out.rename(tmp_path / "away")
    with pytest.raises(OtherRun, match="recipe"):
        tune(read_plan(other), said)


def test_where_nothing_can_be_written_it_is_said(tmp_path: Path) -> None:
    path = write_plan(tmp_path, Recipe(**{**SMALL, "epochs": 1}))
    (tmp_path / "file").write_text("not a folder")
    plan = json.loads(path.read_text())
    path.write_text(json.dumps({**plan, "out": str(tmp_path / "file" / "out")}))
    with pytest.raises(BadPlan, match=r"out: .* cannot be made"):
        tune(read_plan(path), said)
    path.write_text(json.dumps({**plan, "checkpoints": "/dev/full"}))
    with pytest.raises(BadCheckpoints, match="checkpoints: /dev/full"):
        tune(read_plan(path), said)


def test_a_rate_too_high_is_said(tmp_path: Path) -> None:
    plan = read_plan(write_plan(tmp_path, Recipe(**{**SMALL, "rate": 1e30})))
    with pytest.raises(Diverged, match=r"recipe\.rate"):
        tune(plan, said)
    assert not plan.out.exists()


def test_nothing_to_learn_is_said(tmp_path: Path) -> None:
    path = write_plan(tmp_path, Recipe(**SMALL), groups=made_groups(2, held_out=2))
    with pytest.raises(NothingToLearn, match="'train': 0"):
        tune(read_plan(path), said)
    found = CliRunner().invoke(app, [str(path)])
    assert found.exit_code == 2
    assert found.stderr.startswith("trainer.tuning: groups: ")
