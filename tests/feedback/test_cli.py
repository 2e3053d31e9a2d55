"""`touchstone feedback` over real logs: counts, an export that reads back, a check that names what is wrong."""

import asyncio
import gzip
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text
from typer.testing import CliRunner, Result

from feedback import Exchange, InvalidExchange, Signal, SqlStore, suite_to_data
from feedback.cli import app
from feedback.export import read_export, to_line, write_export
from sandbox import AssertSuite, Call, CallSuite
from tests.feedback.records import candidate, exchange, signal

SUITE = CallSuite((Call(function="f", args=({"b", "a"},), expected=frozenset({"c", "d"})),))


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def asked() -> list[Exchange]:
    """Judged: the first is good, one is rescued, two fail; then one with a suite, and one for `eval`."""
    first, *rest = exchange(0).candidates
    bad = candidate(0, rank=0, choice=0, ok=False)
    rescued = (candidate(0, rank=1, ok=False), candidate(1, rank=0, choice=0), candidate(2))
    return [
        exchange(0),
        replace(exchange(1), candidates=rescued),
        replace(exchange(2), candidates=(bad, *rest), status="degraded"),
        replace(exchange(3), candidates=(bad, *rest), reason="\0\ud800"),
        replace(exchange(4), suite=suite_to_data(SUITE), candidates=(replace(first, program_class=None), *rest)),
        replace(exchange(5, purpose="eval"), suite=suite_to_data(AssertSuite("assert f(1)")), method="off"),
    ]


@pytest.fixture
def said(asked: list[Exchange]) -> list[Signal]:
    return [
        signal(asked[0], source="[red]ide\x1b"),
        signal(asked[1], "rating", 0.5, source="\ud800"),
        signal(asked[1], "rating", 1, source="\ud800"),
    ]


@pytest.fixture
def state(tmp_path: Path, asked: list[Exchange], said: list[Signal]) -> Path:
    async def fill() -> None:
        store = SqlStore.open(tmp_path / "touchstone.db")
        await asyncio.gather(*(store.record(each) for each in asked))
        await store.signals(said)
        await store.aclose()

    asyncio.run(fill())
    return tmp_path


def test_stats_as_json(state: Path) -> None:
    result = run("stats", "--state-dir", state, "--json")
    assert result.exit_code == 0
    gain = {"first_ok": 2, "rescued": 1, "none_ok": 2, "rescue_rate": pytest.approx(1 / 3)}
    assert json.loads(result.stdout) == {
        "exchanges": 6,
        "candidates": 18,
        "by_purpose": {"eval": 1, "traffic": 5},
        "by_status": {"complete": 5, "degraded": 1},
        "by_method": {"off": 1, "tests": 5},
        "signals": [
            {"type": "accept", "source": "[red]ide\x1b", "count": 1},
            {"type": "rating", "source": "\ud800", "count": 2},
        ],
        "gain": gain,
    }


def test_stats_as_a_table(state: Path) -> None:
    result = run("stats", "--database", f"sqlite:///{state / 'touchstone.db'}")
    assert result.exit_code == 0
    for words in ("degraded", "rating from \\ud800", "accept from [red]ide\\x1b", "33.3%"):
        assert words in result.stdout


def test_stats_of_an_empty_log(tmp_path: Path) -> None:
    asyncio.run(SqlStore.open(tmp_path / "touchstone.db").aclose())
    counted = json.loads(run("stats", "--state-dir", tmp_path, "--json").stdout)
    assert counted["exchanges"] == 0
    assert counted["gain"]["rescue_rate"] is None


@pytest.mark.parametrize("name", ["log.jsonl", "log.jsonl.gz"])
def test_an_export_reads_back(state: Path, asked: list[Exchange], said: list[Signal], name: str) -> None:
    out = state / name
    out.write_text("what was there before")
    result = run("export", "--out", out, "--state-dir", state)
    assert (result.exit_code, result.stdout) == (0, f"6 exchanges of {state / 'touchstone.db'} in {out}\n")
    assert list(read_export(out)) == [
        (each, tuple(one for one in said if one.exchange_id == each.id)) for each in asked
    ]
    packed = out.read_bytes()
    lines = (gzip.decompress(packed) if name.endswith("gz") else packed).decode("ascii").splitlines()
    assert [json.loads(line, parse_constant=pytest.fail)["version"] for line in lines] == [1] * 6
    assert {path.name for path in state.iterdir()} == {"touchstone.db", name}


def test_an_export_of_some(state: Path, asked: list[Exchange]) -> None:
    out = state / "some.jsonl"
    assert run("export", "--out", out, "--since", "2026-05-01T00:02:00", "--purpose", "traffic", "--state-dir", state)
    assert [each.id for each, _ in read_export(out)] == [each.id for each in asked[2:5]]


def test_a_failed_export_leaves_the_old_file(tmp_path: Path) -> None:
    out = tmp_path / "log.jsonl.gz"
    out.write_text("before")

    async def broken() -> Any:
        yield exchange(1), ()
        raise OSError("the disk went away")

    with pytest.raises(OSError, match="went away"):
        asyncio.run(write_export(broken(), out))
    assert out.read_text() == "before"
    assert list(tmp_path.iterdir()) == [out]


@pytest.mark.parametrize("change", [lambda line: line[:-9], lambda line: line.replace('"version":1', '"version":9')])
def test_a_line_that_cannot_be_read_is_named(tmp_path: Path, change: Callable[[str], str]) -> None:
    out, line = tmp_path / "log.jsonl", to_line(exchange(1), ())
    out.write_text(f"{line}\n{change(line)}\n")
    with pytest.raises(InvalidExchange, match="line 2"):
        list(read_export(out))


def test_a_sound_log_in_another_process(state: Path) -> None:
    """The suite holds sets, whose order differs from process to process."""
    for seed in ("1", "2"):
        command = [sys.executable, "-c", "from feedback.cli import app; app()", "verify", "--state-dir", str(state)]
        check = subprocess.run(command, env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=False)
        assert (check.returncode, check.stdout) == (0, f"the log {state / 'touchstone.db'} is sound\n"), check.stderr


FAULTS = [
    ("UPDATE exchanges SET prompt_hash = 'b2:0' WHERE id LIKE 'cmpl-000001%'", "prompt hash is b2:0"),
    ("UPDATE exchanges SET prompt = replace(prompt, 'f2', 'g2')", "cmpl-000002"),
    ("UPDATE exchanges SET suite = replace(suite, 'f(1)', 'f(2)')", "suite hash is b2:"),
    ("UPDATE exchanges SET suite = replace(suite, 'calls', 'riddle')", "suite.form: 'riddle'"),
    ("UPDATE candidates SET rank = 0", "ranks [0, 0, 0] are not a permutation"),
    ("UPDATE candidates SET duplicate_of = 9 WHERE candidate = 2", "duplicates 9, which is not there"),
    ("UPDATE candidates SET choice = 4 WHERE choice = 0", "choices [4] are not numbered from 0"),
    ("UPDATE signals SET choice = 2", "of choice 2, which was not shown"),
    ("UPDATE exchanges SET options = '{' WHERE id LIKE 'cmpl-000001%'", "cannot be read on after the beginning"),
    ("DELETE FROM exchanges WHERE id LIKE 'cmpl-000000%'", "its exchanges row is missing"),
]


@pytest.mark.parametrize(("fault", "words"), FAULTS)
def test_each_fault_is_named(state: Path, fault: str, words: str) -> None:
    engine = create_engine(f"sqlite:///{state / 'touchstone.db'}")
    with engine.begin() as connection:
        for statement in fault.split("; "):
            connection.execute(text(statement))
    engine.dispose()
    result = run("verify", "--state-dir", state)
    assert result.exit_code == 1
    assert words in result.stdout
    assert "problems" in result.stderr


@pytest.mark.parametrize("command", [["stats"], ["verify"], ["export", "--out", "x.jsonl"]])
def test_there_must_be_a_log(tmp_path: Path, command: list[str]) -> None:
    result = run(*command, "--state-dir", tmp_path / "nowhere")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "there is no database at" in result.stderr
    assert not (tmp_path / "nowhere").exists()


def test_a_folder_that_cannot_be_written(state: Path) -> None:
    result = run("export", "--out", state / "no" / "x.jsonl", "--state-dir", state)
    assert result.exit_code == 1
    assert "No such file" in result.stderr


def test_one_log_at_a_time(state: Path) -> None:
    assert run("stats", "--state-dir", state, "--database", "sqlite:///x.db").exit_code == 2
