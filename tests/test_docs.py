"""What the documents say is checked against what is there."""

import asyncio
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()


def test_the_tree_of_the_readme_names_every_folder() -> None:
    tree = README.split("## The tree")[1].split("```")[1]
    named = set(re.findall(r"^(\w+)/", tree, re.MULTILINE))
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if tracked.returncode:
        pytest.skip("not a git checkout")
    folders = {line.split("/")[0] for line in tracked.stdout.splitlines() if "/" in line and not line.startswith(".")}
    assert named == folders


def test_every_make_target_that_a_document_names_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for path in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]:
        named = set(re.findall(r"\bmake ([a-z][a-z-]+)\b", path.read_text()))
        assert named & {"serve", "test", "check", "bench", "docs", "clean"} <= targets
        assert {name for name in named if "-" in name} <= targets, path.name


def test_every_module_that_the_readme_runs_exists() -> None:
    for module in re.findall(r"python -m ([\w.]+)", README):
        path = ROOT / Path(*module.split("."))
        assert path.with_suffix(".py").exists() or (path / "__main__.py").exists(), module


def test_links_inside_the_documents_lead_somewhere() -> None:
    for path in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", path.read_text()):
            assert (path.parent / target).exists(), f"{path.name} -> {target}"
        for target in re.findall(
            r"`((?:docs|tests|server|reranker|sandbox|engine|feedback|trainer|bench)/[\w./-]+)`", path.read_text()
        ):
            assert (ROOT / target).exists(), f"{path.name} -> {target}"


def test_the_changelog_knows_the_version() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert f"## {version}" in (ROOT / "CHANGELOG.md").read_text()


API = """
from sandbox import AssertSuite, Limits, LocalSandbox, Program


async def status_of(source: str, tests: str) -> str:
    async with LocalSandbox() as sandbox:
        outcome = await sandbox.run(Program(completion=source), AssertSuite(tests), Limits())
    return outcome.status  # "passed", "wrong_answer", "runtime_error", ...
"""


def touchstone(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "touchstone.py"), *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def needs_isolation() -> None:
    if touchstone("sandbox", "probe").returncode:
        pytest.skip("no isolation here")


def snippet(mark: str) -> str:
    """The block of the README under `<!-- mark -->`."""
    return README.split(f"<!-- {mark} -->\n```")[1].split("\n", 1)[1].split("```")[0]


def test_the_sandboxs_api_is_the_same_everywhere_and_works() -> None:
    for path in (ROOT / "README.md", ROOT / "docs" / "sandbox.md", ROOT / "sandbox" / "README.md"):
        assert API.strip() in path.read_text(), path
    needs_isolation()
    names: dict[str, object] = {}
    exec(API, names)
    status_of = names["status_of"]
    assert callable(status_of)
    for source, status in (("def f(x): return x + 1", "passed"), ("def f(x): return x", "wrong_answer")):
        assert asyncio.run(status_of(source, "assert f(1) == 2")) == status


def test_the_run_of_the_readme_gives_what_it_says(tmp_path: Path) -> None:
    needs_isolation()
    shell = f'touchstone() {{ "{sys.executable}" "{ROOT / "touchstone.py"}" "$@"; }}\n{snippet("run")}'
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        ["sh", "-c", shell], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1, done.stderr
    assert masked(done.stdout) == masked(snippet("ran"))


def masked(page: str) -> list[str]:
    """Its words, without what differs from host to host."""
    return re.sub(r"[\d.]+ (ms|MiB)|tier \w", "", page).split()


def test_every_command_that_the_readme_names_exists() -> None:
    usage = touchstone("--help").stdout
    [line] = re.findall(r"^    touchstone (serve \|.*)$", README, re.MULTILINE)
    named = {part.split()[0] for part in re.sub(r"\w+(\|\w+)+|\[.*?\]", "", line).split(" | ")}
    assert named == set(re.findall(r"^\W*([a-z]+)  +[A-Z]", usage, re.MULTILINE))
