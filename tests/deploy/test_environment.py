"""Each `TOUCHSTONE_...` that an image, the compose file or a manifest sets is a setting: a wrong name is ignored."""

import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from engine import SETTINGS_PREFIX
from server.config import Config

ROOT = Path(__file__).resolve().parents[2]
FILES = [
    ROOT / "Dockerfile",
    ROOT / "deploy" / "compose.yml",
    *sorted((ROOT / "deploy" / "kubernetes").rglob("*.yaml")),
    ROOT / "docs" / "deploy.md",
]


def names_in(path: Path) -> set[str]:
    text = path.read_text() if path.suffix == ".md" else re.sub(r"#.*", "", path.read_text())
    return set(re.findall(rf"\b{SETTINGS_PREFIX}[A-Z0-9_]+\b", text))


def is_setting(name: str) -> bool:
    model: Any = Config
    for part in name.removeprefix(SETTINGS_PREFIX).lower().split("__"):
        if not (isinstance(model, type) and issubclass(model, BaseModel) and part in model.model_fields):
            return False
        model = model.model_fields[part].annotation
    return True


def test_a_wrong_name_is_found() -> None:
    assert is_setting("TOUCHSTONE_SERVER__HOST")
    assert not is_setting("TOUCHSTONE_SERVER__HOTS")
    assert not is_setting("TOUCHSTONE_PORT")


@pytest.mark.parametrize("path", [path for path in FILES if names_in(path)], ids=lambda path: path.name)
def test_what_is_set_is_a_setting(path: Path) -> None:
    assert {name for name in names_in(path) if not is_setting(name)} == set()
