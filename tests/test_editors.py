"""`docs/editors.md`: every snippet parses, and names what is there."""

import ast
import importlib
import json
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest

from server.app import app_of
from server.config import Config
from server.service import Service

ROOT = Path(__file__).resolve().parent.parent
TEXT = (ROOT / "docs" / "editors.md").read_text(encoding="utf-8")
SNIPPETS: list[tuple[str, str]] = re.findall(r"^```(\w+)\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
PARSERS: dict[str, Any] = {
    "json": json.loads,
    "yaml": importlib.import_module("yaml").safe_load,  # it brings no types
    "toml": tomllib.loads,
    "python": ast.parse,
}


def snippets(*languages: str) -> list[tuple[str, str]]:
    return [snippet for snippet in SNIPPETS if snippet[0] in languages]


def test_there_is_a_parser_for_every_language() -> None:
    assert {language for language, _ in SNIPPETS} == {*PARSERS, "lua", "vim"}


@pytest.mark.parametrize(("language", "text"), snippets(*PARSERS))
def test_a_snippet_parses(language: str, text: str) -> None:
    assert PARSERS[language](text)


@pytest.mark.parametrize(("language", "text"), snippets("lua", "vim"))
@pytest.mark.clients
def test_neovim_reads_its_snippets(language: str, text: str, tmp_path: Path) -> None:
    if shutil.which("nvim") is None:
        pytest.skip("no Neovim here: apt-get install neovim")
    file = tmp_path / f"snippet.{language}"
    file.write_text(text)
    read = f"lua assert(loadfile('{file}'))" if language == "lua" else f"source {file}"
    command = ["nvim", "--clean", "--headless", "-c", read, "-c", "quitall!"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_every_address_leads_to_a_route(tmp_path: Path) -> None:
    service = Service(Config(state_dir=tmp_path))
    app: Any = app_of(service)
    known = set(app._paths)
    for path in re.findall(r"http://127\.0\.0\.1:8000(/[\w/-]+)", TEXT):
        assert path in known or path.rstrip("/") == "/v1", path


def test_every_metric_exists(tmp_path: Path) -> None:
    exposition = Service(Config(state_dir=tmp_path)).metrics.scrape().decode()
    known = set(re.findall(r"^# TYPE (touchstone_\w+)", exposition, re.MULTILINE))
    for name in re.findall(r"`[^`]*`", TEXT):
        for metric in re.findall(r"touchstone_\w+(?=[{\[])", name):
            assert metric in known or metric.removesuffix("_bucket") in known, metric
