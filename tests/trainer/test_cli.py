"""The command: light to import, clear when it cannot run, and real when it can."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from trainer.cli import app

ROOT = Path(__file__).resolve().parents[2]


def test_neither_the_command_nor_the_corpus_imports_torch() -> None:
    program = (
        "import sys; import trainer.cli, trainer.bundled; trainer.bundled.held_out(2, 0); "
        "print([name for name in ('torch', 'transformers', 'tokenizers') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "[]"


def test_without_torch_the_message_names_the_extra(tmp_path: Path) -> None:
    program = (
        "import importlib.util, sys; real = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name, *rest: None if name == 'torch' else real(name, *rest)\n"
        f"from trainer.cli import app; app(['bundled', '--out', {str(tmp_path / 'model')!r}])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 2
    assert "pip install 'touchstone[train]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_taken_folder_is_refused_before_training(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    (tmp_path / "note.txt").write_text("mine")
    result = CliRunner().invoke(app, ["bundled", "--out", str(tmp_path)])
    assert result.exit_code == 2
    assert "never written over" in result.output


def test_a_folder_that_cannot_name_a_model_is_refused_before_training(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    result = CliRunner().invoke(app, ["bundled", "--out", str(tmp_path / "My Model")])
    assert result.exit_code == 2
    assert "--out" in result.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["bundled", "--out", "m", "--checkpoints", "m/kept"], "--checkpoints: m/kept is inside m"),
        (["bundled", "--out", "m", "--checkpoints", "file"], "--checkpoints: file is not a folder"),
        (["bundled", "--out", "m", "--minutes", "nan"], "either --tokens or --minutes"),
        (["bundled", "--out", "m", "--threads", "0"], "--threads"),
        (["problems", "--out", "m.txt", "--n", "1"], "--out"),
        (["problems", "--out", "none/m.jsonl", "--n", "1"], "--out"),
    ],
)
def test_what_cannot_be_done_is_said_before_it_is_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    result = CliRunner().invoke(app, arguments, env={"COLUMNS": "200"})
    assert result.exit_code == 2, result.output
    assert message in result.output
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_two_budgets_are_refused(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    arguments = ["bundled", "--out", str(tmp_path / "model"), "--tokens", "10", "--minutes", "1"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2
    assert "either --tokens or --minutes" in result.output


def train_tiny(out: Path, kept: Path) -> "subprocess.Popen[str]":
    command = [
        sys.executable, "-c", "from trainer.cli import app; app()", "bundled", "--out", str(out), "--tiny",
        "--threads", "2", "--checkpoints", str(kept),
    ]  # fmt: skip
    pipe = subprocess.PIPE
    environment = os.environ | {"COLUMNS": "200"}
    return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, cwd=ROOT, env=environment)


def read_curve(kept: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (kept / "curve.jsonl").read_text().splitlines()]


def weights(model: Path) -> bytes:
    return (model / "hf" / "model.safetensors").read_bytes()


@pytest.mark.long
def test_a_seed_gives_one_model_however_often_the_run_is_killed(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    first = train_tiny(tmp_path / "first", tmp_path / "kept")
    stdout, stderr = first.communicate(timeout=120)
    assert first.returncode == 0, stderr
    facts = json.loads(stdout.splitlines()[-1])
    assert facts["tokens"] >= 6000
    assert stderr.count("validation loss") == stderr.count("pass@2") == 2
    curve = read_curve(tmp_path / "kept")
    assert [0 <= point["scores"]["pass_at_1"] <= 1 for point in curve] == [True, True]
    assert (tmp_path / "first" / "ct2-int8" / "model.bin").is_file()
    served = [path for path in (tmp_path / "kept").iterdir() if path.name.startswith("step-")]
    assert len(served) == 2  # one at each report

    killed = train_tiny(tmp_path / "second", tmp_path / "again")
    while not list((tmp_path / "again").glob("state-*.1-of-2")):
        assert killed.poll() is None
        time.sleep(0.01)
    killed.kill()
    killed.communicate()
    assert not (tmp_path / "second").exists()
    resumed = train_tiny(tmp_path / "second", tmp_path / "again")
    assert resumed.wait(timeout=120) == 0
    resumed.communicate()
    assert weights(tmp_path / "second") == weights(tmp_path / "first")
    assert [point["step"] for point in read_curve(tmp_path / "again")] == [point["step"] for point in curve]

    other = ["bundled", "--out", str(tmp_path / "third"), "--tiny", "--seed", "7"]
    refused = CliRunner().invoke(app, [*other, "--checkpoints", str(tmp_path / "kept"), "--threads", "1"])
    assert refused.exit_code == 2
    assert "written by 2 processes, not 1" in refused.output
