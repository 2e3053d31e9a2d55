"""The command: light to import, clear when it cannot run, and real when it can."""

import json
import os
import subprocess
import sys
from pathlib import Path

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


def test_two_budgets_are_refused(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    arguments = ["bundled", "--out", str(tmp_path / "model"), "--tokens", "10", "--minutes", "1"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2
    assert "either --tokens or --minutes" in result.output


def test_two_processes_train_a_tiny_model(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    out = tmp_path / "model"
    done = subprocess.run(
        [sys.executable, "-c", "from trainer.cli import app; app()", "bundled", "--out", str(out), "--tiny",
         "--threads", "2", "--checkpoint", str(tmp_path / "state")],
        capture_output=True, text=True, cwd=ROOT, env=os.environ | {"COLUMNS": "200"}, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout.splitlines()[-1])
    assert facts["tokens"] >= 6000
    assert "validation loss" in done.stderr
    assert (out / "ct2-int8" / "model.bin").is_file()
    assert {path.name for path in tmp_path.iterdir()} == {"model", "state.0", "state.1"}
