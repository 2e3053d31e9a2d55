"""`python -m sandbox`, on a host that isolates and on one that refuses."""

from __future__ import annotations

import ast
import json
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from sandbox import inside

ROOT = Path(__file__).parents[2]

_INSTRUCTIONS = [(0x20, 0, 0, 0), (0x15, 0, 1, 272), (0x06, 0, 0, 0x50001), (0x06, 0, 0, 0x7FFF0000)]
_FILTER = b"".join(struct.pack("<HBBI", *instruction) for instruction in _INSTRUCTIONS)

# Refuses unshare(2) and nothing else, as a container's default profile does, then becomes the command.
WITHOUT_NAMESPACES = f"""
import os, sys
from sandbox.inside.seccomp import Filter
from sandbox.inside.system import PR_SET_NO_NEW_PRIVS, prctl
prctl(PR_SET_NO_NEW_PRIVS, 1)
Filter({_FILTER!r}).install()
os.execv(sys.executable, [sys.executable, "-m", "sandbox", *sys.argv[1:]])
"""


def command(*arguments: str | Path, refused: bool = False) -> subprocess.CompletedProcess[str]:
    start = ["-c", WITHOUT_NAMESPACES] if refused else ["-m", "sandbox"]
    return subprocess.run(
        [sys.executable, *start, *map(str, arguments)], cwd=ROOT, capture_output=True, text=True, timeout=60
    )


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    program, tests = tmp_path / "program.py", tmp_path / "tests.py"
    program.write_text("def f(x):\n    return x + 1\n")
    tests.write_text("def check(g):\n    assert g(1) == 2\n")
    return program, tests


@pytest.mark.isolation
def test_prints_the_outcome(files: tuple[Path, Path]) -> None:
    program, tests = files
    done = command(program, "--tests", tests, "--entry-point", "f")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["status"] == "passed"
    program.write_text("def f(x):\n    return x\n")
    done = command(program, "--tests", tests, "--entry-point", "f")
    assert done.returncode == 1
    assert json.loads(done.stdout)["tests"][0]["status"] == "wrong_answer"


@pytest.mark.isolation
def test_says_what_is_wrong_with_the_input(files: tuple[Path, Path]) -> None:
    program, tests = files
    assert "entry point" in command(program, "--tests", tests).stderr
    done = command(program, "--tests", "absent.py")
    assert done.returncode == 2
    assert "absent.py" in done.stderr


@pytest.mark.isolation
def test_probes() -> None:
    done = command("--probe")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["facts"]["host_files_seen"] == "[]"


def test_refuses_where_the_kernel_does_and_says_how_to_fix_it(files: tuple[Path, Path]) -> None:
    program, tests = files
    for arguments in (("--probe",), (program, "--tests", tests, "--entry-point", "f")):
        done = command(*arguments, refused=True)
        assert done.returncode == 3
        assert "Operation not permitted" in done.stderr
        assert "to fix:" in done.stderr
        assert not done.stdout


def test_wants_a_file_or_a_probe() -> None:
    assert command().returncode == 2


def test_what_is_shipped_imports_only_itself_and_the_standard_library() -> None:
    shipped = {f"sandbox.inside.{name}" for name in inside.MODULES}
    assert {path.stem for path in (ROOT / "sandbox" / "inside").glob("*.py")} == {"__init__", *inside.MODULES}
    known: set[str] = set()
    for name in inside.MODULES:
        tree = ast.parse((ROOT / "sandbox" / "inside" / f"{name}.py").read_text())
        imported = {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        imported |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
        ours = imported & shipped
        assert ours <= known, f"{name} imports what is shipped after it"
        assert {module.partition(".")[0] for module in imported - ours} <= sys.stdlib_module_names
        known.add(f"sandbox.inside.{name}")
