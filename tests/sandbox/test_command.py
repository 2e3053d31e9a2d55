"""`touchstone run` and `touchstone sandbox`, on a host that isolates and on one that refuses."""

from __future__ import annotations

import ast
import io
import json
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from sandbox import Outcome, Status, inside
from sandbox.pages import Page

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
os.execv(sys.executable, [sys.executable, "-m", "touchstone", *sys.argv[1:]])
"""


def command(*arguments: str | Path, refused: bool = False) -> subprocess.CompletedProcess[str]:
    start = ["-c", WITHOUT_NAMESPACES] if refused else ["-m", "touchstone"]
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
def test_says_what_each_test_came_to(files: tuple[Path, Path]) -> None:
    program, tests = files
    done = command("run", program, "--tests", tests, "--entry-point", "f")
    assert done.returncode == 0, done.stderr
    first, last = done.stdout.splitlines()
    assert first.split()[:1] == ["passed"]
    assert first.endswith(" ms")
    assert last.startswith("passed: 1 of 1 passed, class pass, tier ")
    assert "integrity strong" in last
    program.write_text("def f(x):\n    return x\n")
    done = command("run", program, "--tests", tests, "--entry-point", "f")
    assert done.returncode == 1
    first, last = done.stdout.splitlines()
    assert first.split()[:1] == ["wrong_answer"]
    assert first.endswith("got 1")
    assert last.startswith("wrong_answer: 0 of 1 passed, class partial, ")
    assert "\x1b" not in done.stdout  # no terminal, no colours
    program.write_text("def f(x:\n")
    done = command("run", program, "--tests", tests, "--entry-point", "f")
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["not_run", "compile_error:", "SyntaxError:"]


@pytest.mark.isolation
def test_prints_one_json_object(files: tuple[Path, Path]) -> None:
    program, tests = files
    done = command("run", program, "--tests", tests, "--entry-point", "f", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    wanted = {
        "status",
        "class",
        "form",
        "tests",
        "tier",
        "integrity",
        "cpu_s",
        "wall_s",
        "peak_memory_bytes",
        "message",
    }
    assert set(found) == wanted
    assert [found[key] for key in ("status", "class", "form", "integrity")] == ["passed", "pass", "calls", "strong"]
    assert found["tier"] in ("A", "B")
    assert found["tests"][0]["status"] == "passed"
    done = command("run", program, "--tests", tests, "--entry-point", "f", "--in-process", "--json")
    assert json.loads(done.stdout)["integrity"] == "weak"


@pytest.mark.isolation
def test_runs_whole_programs(tmp_path: Path) -> None:
    for name, text in {
        "sum.py": "print(sum(map(int, input().split())))",
        "1.in": "1 2",
        "1.out": "3",
        "2.in": "5 2",
        "2.out": "8",
    }.items():
        (tmp_path / name).write_text(text)
    first = ("--stdin", tmp_path / "1.in", "--expect", tmp_path / "1.out")
    done = command("run", tmp_path / "sum.py", *first)
    assert done.returncode == 0, done.stderr
    done = command("run", tmp_path / "sum.py", *first, "--stdin", tmp_path / "2.in", "--expect", tmp_path / "2.out")
    assert done.returncode == 1
    assert "line 1: got '7', expected '8'" in done.stdout


@pytest.mark.isolation
def test_a_program_cannot_write_to_the_terminal(files: tuple[Path, Path]) -> None:
    program, tests = files
    program.write_text("def f(x):\n    raise ValueError('\\x1b]0;title\\x07\\n\\u202e')\n")
    done = command("run", program, "--tests", tests, "--entry-point", "f")
    assert done.returncode == 1
    assert len(done.stdout.splitlines()) == 2
    assert all(character.isprintable() for line in done.stdout.splitlines() for character in line)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("environment", "coloured"), [({"TERM": "xterm"}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)]
)
def test_colours_are_for_terminals(
    environment: dict[str, str], coloured: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("NO_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    screen = Terminal()
    Page(screen, as_json=False).outcome(Outcome(status=Status.PASSED, tests=(), tier="A"))
    assert ("\x1b[32;1mpassed\x1b[0m" in screen.getvalue()) is coloured


@pytest.mark.isolation
def test_says_what_is_wrong_with_the_tests(files: tuple[Path, Path]) -> None:
    program, tests = files
    assert "entry point" in command("run", program, "--tests", tests).stderr


def test_says_what_is_wrong_with_the_input(files: tuple[Path, Path]) -> None:
    program, tests = files
    binary = program.with_name("binary.py")
    binary.write_bytes(b"\xff\xfe")
    for arguments, words in (
        (("--tests", "absent.py"), "absent.py"),
        (("--tests", binary), "binary.py: 'utf-8' codec"),
        ((), "--tests or --expect"),
        (("--tests", tests, "--expect", tests), "--tests or --expect"),
        (("--tests", tests, "--stdin", tests), "--expect"),
        (("--expect", tests, "--expect", tests, "--stdin", tests), "1 --stdin for 2 --expect"),
        (("--tests", tests, "--language", "cobol"), "cobol"),
        (("--tests", tests, "--language", "java", "--in-process"), "--in-process"),
        (("--tests", tests, "--cpu-s", "0"), "--cpu-s"),
    ):
        done = command("run", program, *arguments)
        assert (done.returncode, done.stdout) == (2, ""), done
        assert words in done.stderr
    assert command().returncode == 2


@pytest.mark.isolation
def test_probes() -> None:
    done = command("sandbox", "probe", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert set(found) == {"tier", "facts", "stronger_refused", "how_to_fix"}
    assert found["facts"]["network_denied"] == "True"
    assert command("sandbox", "probe").stdout.startswith(f"tier {found['tier']}\n")


def test_refuses_where_the_kernel_does_and_says_how_to_fix_it(files: tuple[Path, Path]) -> None:
    program, tests = files
    for arguments in (("sandbox", "probe"), ("run", program, "--tests", tests, "--entry-point", "f")):
        done = command(*arguments, "--tier", "A", refused=True)
        assert done.returncode == 3
        assert "Operation not permitted" in done.stderr
        assert "to fix:" in done.stderr
        assert not done.stdout
        done = command(*arguments, "--tier", "A", "--json", refused=True)
        found = json.loads(done.stdout)
        assert (found["status"], found["tier"], done.returncode) == ("sandbox_unavailable", None, 3)
        assert found["how_to_fix"]


@pytest.mark.isolation
def test_a_weaker_tier_says_why_it_is_not_a_stronger_one() -> None:
    done = command("sandbox", "probe", "--json", "--python", "/usr/bin/python3", refused=True)
    if done.returncode == 3:
        pytest.skip(f"no tier B here: {done.stderr}")
    found = json.loads(done.stdout)
    assert found["tier"] == "B"
    assert "Operation not permitted" in found["stronger_refused"][0]
    assert found["how_to_fix"]


def environment(folder: Path) -> Path:
    """A new virtual environment with a package of its own; its interpreter."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    [packages] = folder.glob("lib/python*/site-packages")
    (packages / "ours.py").write_text("TWO = 2\n")
    return folder / "bin" / "python"


@pytest.mark.isolation
def test_an_interpreter_brings_its_packages(files: tuple[Path, Path]) -> None:
    program, tests = files
    program.write_text("import ours\ndef f(x):\n    return x * ours.TWO\n")
    arguments = ("run", program, "--tests", tests, "--entry-point", "f", "--tier", "A")
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        Path(folder).chmod(0o755)
        done = command(*arguments, "--python", environment(Path(folder) / "venv"))
        if done.returncode == 3 and "Operation not permitted" in done.stderr:
            pytest.skip(f"no tier A here: {done.stderr}")
        assert done.returncode == 0, done.stdout + done.stderr
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        done = command(*arguments, "--python", environment(Path(folder)))
        assert done.returncode == 3
        assert "below /tmp" in done.stderr
        assert "installed elsewhere" in done.stderr


@pytest.mark.isolation
def test_is_a_module_too(files: tuple[Path, Path]) -> None:
    program, tests = files
    call = [sys.executable, "-m", "sandbox", "run", program, "--tests", tests, "--entry-point", "f"]
    done = subprocess.run(list(map(str, call)), cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


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
