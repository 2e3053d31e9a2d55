"""The page of settings is what they are; the CronJob's command is one that there is."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from trainer.cli import app
from trainer.docs import PAGE, page

CRONJOB = Path(__file__).parents[3] / "deploy" / "kubernetes" / "base" / "train-cronjob.yaml"


def test_the_settings_of_a_round_are_current() -> None:
    text = PAGE.read_text()
    assert text == page(text), "run: make docs"


def test_the_cronjobs_command_is_understood(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    [line] = [line for line in CRONJOB.read_text().splitlines() if "command:" in line]
    words = line.split("[", 1)[1].rstrip("]").replace('"', "").split(", ")
    assert words[:2] == ["touchstone", "train"]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TOUCHSTONE_TRAINER__NICE", "0")
    found = CliRunner().invoke(app, [word if word != "/state" else str(tmp_path) for word in words[2:]])
    assert found.exit_code == 0, found.output
    assert "no log yet" in found.output
