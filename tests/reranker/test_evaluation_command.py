"""`touchstone eval` as a process: measured, killed and gone on with, shown again, refused."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
from typer.testing import CliRunner

from reranker.evaluation import Record, read_report, write_problems
from reranker.evaluation.cli import app

from .evaluations import SCRIPT, SHOWN, SUITE, confined

ROOT = Path(__file__).resolve().parents[2]
MANY = 16


@pytest.fixture
async def isolated() -> None:
    async with confined():
        pass


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A working folder with a suite, a longer one, and a configuration of the scripted engine."""
    write_problems(tmp_path / "small.jsonl", SUITE.problems)
    many = [replace(SHOWN, task_id=f"p/{number}", tags={"n_steps": number % 2}) for number in range(MANY)]
    write_problems(tmp_path / "many.jsonl", many)
    script = {prompt: [each.text for each in answers] for prompt, answers in SCRIPT.items()}
    (tmp_path / "script.json").write_text(json.dumps(script))
    (tmp_path / "touchstone.toml").write_text(
        f'[engine]\ntype = "scripted"\nscript = "{tmp_path}/script.json"\n[server]\nport = 1\n'
    )
    return tmp_path


def begin(folder: Path, *args: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "touchstone", "eval", *args],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "100"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(folder: Path, *args: str) -> tuple[int, str, str]:
    """Exit code, standard output, standard error."""
    process = begin(folder, *args)
    said, complained = process.communicate(timeout=120)
    return process.returncode, said, complained


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.005)


def lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def without_times(records: tuple[Record, ...]) -> list[Record]:
    return [replace(record, generate_s=0, judge_s=0, wall_s=0) for record in records]


@pytest.mark.usefixtures("isolated")
def test_it_measures_and_shows_the_same_again(folder: Path) -> None:
    options = ("--suite", "small.jsonl", "--n", "4", "--k", "1,2,4", "--json", "a.json", "--html", "a.html")
    code, said, complained = run(folder, *options)
    assert (code, complained) == (0, "")
    assert "random (pass@1)   41.7 [" in said
    assert (folder / "a.html").read_text().startswith("<!doctype html>")
    assert json.loads((folder / "a.json").read_text())["source"]["engine"] == "scripted"
    code, again, _ = run(folder, "show", "a.json", "--json", "b.json")
    assert (code, again) == (0, said)
    code, compared, _ = run(folder, "compare", "a.json", "b.json", "--json", "c.json", "--html", "c.html")
    assert code == 0
    assert "3 problems in both" in compared
    differences: list[dict[str, Any]] = json.loads((folder / "c.json").read_text())["differences"]
    assert differences
    assert all(each["change"]["value"] == 0 for each in differences)
    assert "Against the measurement before" in (folder / "c.html").read_text()


@pytest.mark.usefixtures("isolated")
def test_killed_and_gone_on_with_is_the_same_as_uninterrupted(folder: Path) -> None:
    options = ("--suite", "many.jsonl", "--n", "4", "--concurrency", "1")
    file = folder / "run.jsonl"
    process = begin(folder, *options, "--run", "run.jsonl")
    until(lambda: lines(file) >= 4)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    kept = lines(file) - 1
    assert 3 <= kept < MANY
    file.write_bytes(file.read_bytes() + b'{"task_id":"p/')
    assert run(folder, *options, "--run", "run.jsonl", "--json", "resumed.json")[0] == 0
    assert lines(file) == 1 + MANY
    assert run(folder, *options, "--json", "whole.json")[0] == 0
    resumed, whole = read_report(folder / "resumed.json"), read_report(folder / "whole.json")
    assert without_times(resumed.records) == without_times(whole.records)
    assert resumed.measures() == whole.measures()


@pytest.mark.usefixtures("isolated")
def test_ctrl_c_leaves_a_file_to_go_on_from_and_says_how(folder: Path) -> None:
    process = begin(folder, "--suite", "many.jsonl", "--n", "4", "--concurrency", "1", "--run", "run.jsonl")
    until(lambda: lines(folder / "run.jsonl") >= 3)
    process.send_signal(signal.SIGINT)
    said, complained = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said == ""
    assert "to go on: touchstone eval --suite many.jsonl" in complained
    assert "Traceback" not in complained
    code, _, complained = run(folder, "--suite", "many.jsonl", "--n", "8", "--run", "run.jsonl")
    assert code == 1
    assert "n: 4 there, 8 here" in complained


class Endless(BaseHTTPRequestHandler):
    """A server that says what it serves, and answers nothing else until it is told to."""

    asked, over = Event(), Event()

    def do_GET(self) -> None:
        body = json.dumps({"data": [{"id": "m", "engine": "none", "effective_dtype": "none"}]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        self.asked.set()
        self.over.wait(60)
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the base class calls it so
        """Say nothing."""


@pytest.fixture
def endless() -> Iterator[tuple[str, type[Endless]]]:
    class Handler(Endless):
        asked, over = Event(), Event()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1", Handler
    finally:
        Handler.over.set()
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("key", [("--api-key", "SECRET"), ("--api-key=SECRET",)])
@pytest.mark.usefixtures("isolated")
def test_ctrl_c_does_not_print_the_key(folder: Path, endless: tuple[str, type[Endless]], key: tuple[str, ...]) -> None:
    url, server = endless
    process = begin(folder, *key, "--suite", "small.jsonl", "--url", url, "--run", "run.jsonl")
    assert server.asked.wait(60)
    process.send_signal(signal.SIGINT)
    _, complained = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "SECRET" not in complained
    assert "touchstone eval --suite small.jsonl" in complained
    assert complained.endswith("--run run.jsonl --api-key ...\n")


@pytest.mark.usefixtures("isolated")
def test_given_samples_are_judged(folder: Path) -> None:
    code, said, _ = run(folder, "--suite", "small.jsonl", "--samples", "canonical")
    assert code == 0
    assert "random (pass@1)   100.0 [100, 100]" in said
    (folder / "given.jsonl").write_text(
        json.dumps({"task_id": "shown", "completions": ["    return x", "    return 1+x"]})
    )
    code, said, _ = run(folder, "--suite", "small.jsonl", "--samples", "given.jsonl")
    assert code == 0
    assert "1 of 3 problems judged; 2 samples, 2 distinct" in said


@pytest.mark.usefixtures("isolated")
def test_a_pool_is_gone_on_with_by_the_same_settings_and_no_others(folder: Path) -> None:
    options = ("--suite", "many.jsonl", "--pool", "pool.jsonl")
    assert run(folder, *options, "--n", "2", "--limit", "2")[0] == 0
    pool = folder / "pool.jsonl"
    before = pool.read_bytes()
    pool.write_bytes(before + b'{"task_id": "p/')
    assert run(folder, *options, "--n", "2", "--limit", "3", "--test-cpu-s", "5")[0] == 0
    assert pool.read_bytes().startswith(before)
    assert sorted(json.loads(line)["task_id"] for line in pool.read_text().splitlines()) == ["p/0", "p/1", "p/2"]
    code, _, complained = run(folder, *options, "--n", "4", "--limit", "3")
    assert (code, complained) == (1, "touchstone eval: pool.jsonl belongs to another run: n: 2 there, 4 here\n")
    (folder / "notes").write_text("mine")
    code, _, complained = run(folder, "--suite", "many.jsonl", "--pool", "notes", "--n", "2")
    assert (code, "notes.run.json is missing" in complained) == (1, True)
    assert (folder / "notes").read_text() == "mine"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--n", "4", "--k", "8"), "k: 8 is more than the 4 samples"),
        (("--k", "one"), "k: must be numbers"),
        (("--method", "examples"), "method: is a server's"),
        (("--limit", "0"), "limit: must be at least 1"),
        (("--concurrency", "0"), "concurrency: must be at least 1"),
        (("--samples", "canonical", "--n", "2"), "n: is about sampling"),
        (("--samples", "canonical", "--url", "http://127.0.0.1:9/v1"), "samples: cannot go with --url"),
        (("--url", "http://127.0.0.1:9/v1", "--dtype", "int8"), "dtype: is about an engine in this process"),
        (("--url", "http://127.0.0.1:9/v1"), "http://127.0.0.1:9/v1 cannot be reached"),
        (("--api-key", "k"), "api_key: is for a server"),
        (("--url", "http://127.0.0.1:9/v1", "--api-key", "clé"), "api_key: must be ASCII"),
        (("--url", "http://127.0.0.1:9/v1", "--api-key", "k\n"), "api_key: must be ASCII"),
        (("--json", "nowhere/x.json"), "json: nowhere is no folder"),
        (("--html", "."), "html: . is a folder"),
        (("--pool", "pool.jsonl.gz"), "pool: pool.jsonl.gz would be compressed; lines are appended"),
        (("--test-cpu-s", "nan"), "test_cpu_s: must be over 0"),
        (("--engine", "abacus"), "engine.type: no engine is called 'abacus'"),
        (("--config", "nowhere.toml"), "config: nowhere.toml: "),
        (("--engine", "ctranslate2", "--seed", "1"), "seed: the engine 'ctranslate2' does not honour it"),
        (("show", "script.json", "--json", "x.json"), "suite: is about measuring and cannot stand before show"),
        (("show", "script.json"), "no report of an evaluation"),
    ],
)
@pytest.mark.usefixtures("isolated")
def test_what_cannot_be_honoured_is_refused_by_name(
    folder: Path, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...], said: str
) -> None:
    monkeypatch.chdir(folder)
    suite = () if options == ("show", "script.json") else ("--suite", "small.jsonl")
    result = CliRunner().invoke(app, [*suite, *options])
    assert (result.exit_code, result.stdout) == (1, "")
    assert said in result.stderr
    assert result.stderr.startswith("touchstone eval: ")
