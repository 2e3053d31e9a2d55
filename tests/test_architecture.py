"""The plan of the house, as tests: layers, doors, sizes, light imports, no mocks."""

import ast
import importlib
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("sandbox", "engine", "reranker", "feedback", "server", "trainer", "deploy", "bench")
SECOND_DOORS = ("reranker.evaluation",)
"""Doors besides the packages' own (docs/decisions/0020)."""
FILES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
MAX_FILE_LINES, MEDIAN_FILE_LINES, MAX_FUNCTION_LINES = 500, 150, 60


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


def imports(path: Path) -> Iterator[tuple[str, str]]:
    """(module, name) of every absolute import in a file, wherever it stands."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            yield from ((node.module, alias.name) for alias in node.names)


@pytest.mark.parametrize("path", FILES + TESTS, ids=relative)
def test_a_file_and_its_functions_are_small(path: Path) -> None:
    source = path.read_text()
    assert len(source.splitlines()) <= MAX_FILE_LINES
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or 0) - node.lineno + 1
            assert length <= MAX_FUNCTION_LINES, f"{node.name} has {length} lines"


def test_the_median_file_is_small() -> None:
    assert statistics.median(len(path.read_text().splitlines()) for path in FILES) <= MEDIAN_FILE_LINES


@pytest.mark.parametrize("path", FILES, ids=relative)
def test_other_packages_are_entered_by_their_door(path: Path) -> None:
    own = path.relative_to(ROOT).parts[0]
    for module, _ in imports(path):
        package, _, inner = module.partition(".")
        foreign = inner and package in PACKAGES and own not in (package, "bench")  # which measures what is inside
        assert not foreign or module in SECOND_DOORS, f"{module} is behind {package}'s door"


@pytest.mark.parametrize("package", [*(p for p in PACKAGES if p not in ("bench", "deploy")), *SECOND_DOORS])
def test_a_door_lists_what_it_offers(package: str) -> None:
    door = importlib.import_module(package)
    assert list(door.__all__) == sorted(
        door.__all__, key=lambda name: (not name.isupper(), not name[0].isupper(), name)
    )
    for name in door.__all__:
        assert getattr(door, name) is not None


@pytest.mark.parametrize("path", TESTS, ids=relative)
def test_tests_use_real_parts(path: Path) -> None:
    assert not any("mock" in (module + name).split(".")[-1].lower() for module, name in imports(path))


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("sandbox", ("typing_extensions", "pydantic", "numpy")),
        ("engine", ("torch", "transformers", "ctranslate2", "httpx", "numpy")),
        ("reranker", ("torch", "transformers", "fastapi", "sqlalchemy", "reranker.evaluation")),
        ("reranker.evaluation", ("torch", "transformers", "fastapi", "sqlalchemy", "datasets")),
        ("feedback", ("torch", "fastapi", "sqlalchemy", "alembic")),
        ("touchstone", ("torch", "fastapi", "ctranslate2", "sqlalchemy", "pydantic")),
    ],
)
def test_imports_are_light(module: str, heavy: tuple[str, ...]) -> None:
    code = f"import sys, {module}; print(*[m for m in {heavy!r} if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout.split() == []


def test_the_import_contract_holds() -> None:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
