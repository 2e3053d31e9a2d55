"""What the log left open, run in a real sandbox; broken off and gone on with; a real store behind it."""

import asyncio
import json
import os
import signal as signals
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from feedback import SqlStore
from reranker.evaluation import DifferentRun, Problem, write_problems
from sandbox import AssertSuite, Limits, Program, ProgramClass, SandboxUnavailable, ScriptedSandbox
from tests.reranker.evaluations import confined
from tests.trainer.groups.records import (
    BROKEN,
    HALF,
    RAISES,
    RIGHT,
    WRONG,
    candidate,
    chat,
    exchange,
    made,
    outcome,
    scores,
    signal,
    solution,
)
from trainer import BadGroups
from trainer.cli import app
from trainer.groups import Runs, Teachers, read_groups

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
async def isolated() -> None:
    async with confined():
        pass


async def test_what_was_not_run_is_classed_in_the_sandbox() -> None:
    asked = exchange(*map(candidate, (RIGHT, HALF, RAISES, BROKEN)))
    async with confined() as sandbox:
        [group], tally = await made(asked, sandbox=sandbox)
    assert scores(group) == {RIGHT: 1.0, HALF: 0.0, RAISES: -0.6, BROKEN: -1.0}
    assert tally.ran == 4


async def test_of_equal_programs_one_is_run() -> None:
    asked = exchange(candidate(RIGHT), candidate("    return (x + 1)"), candidate(WRONG, "partial"), method="off")
    async with confined() as sandbox:
        [group], tally = await made(asked, sandbox=sandbox)
    assert [response.count for response in group.responses] == [2, 1]
    assert tally.ran == 1


async def test_an_edit_is_run_and_cut_as_candidates_are() -> None:
    asked = exchange(candidate(WRONG, "partial"))
    async with confined() as sandbox:
        [group], _ = await made((asked, (signal(asked, "edit", RIGHT + "\n\nprint(inc(1))\n"),)), sandbox=sandbox)
    best = group.responses[0]
    assert (best.text, best.source, best.program_class, best.score) == (RIGHT, "user", ProgramClass.PASS, 1.05)


async def test_chats_and_redacted_prompts_are_run_as_they_will_be_learnt() -> None:
    reply = "Here:\n```python\ndef inc(x):\n    return x + 1\n```\n"
    talk = exchange(candidate("", raw_text=reply), candidate("", raw_text="I cannot."), prompt=chat("Write inc."))
    secret = exchange(
        candidate(RIGHT, "partial"), candidate(WRONG, "pass"), prompt="# AKIAIOSFODNN7EXAMPLE\ndef inc(x):\n"
    )
    async with confined() as sandbox:
        groups, _ = await made(talk, secret, sandbox=sandbox)
    assert [max(scores(group), key=lambda text: scores(group)[text]) for group in groups].count(RIGHT) == 1
    assert {text: score for group in groups for text, score in scores(group).items()} == {
        reply: 1.0,
        "I cannot.": -1.0,
        RIGHT: 1.0,
        WRONG: -0.3,
    }


async def test_a_teacher_is_run_too() -> None:
    teachers = Teachers()
    teachers.add(solution(RIGHT + "\n\n\ndef main():\n    pass\n"), [exchange().prompt_hash])
    async with confined() as sandbox:
        [group], _ = await made(exchange(candidate(WRONG, "partial")), sandbox=sandbox, teachers=teachers)
    assert (group.responses[0].text, group.responses[0].score) == (RIGHT, 1.05)


async def test_a_broken_sandbox_is_an_error_and_a_faulty_suite_leaves_its_prompt_out() -> None:
    broken = ScriptedSandbox(SandboxUnavailable(("no namespaces",)))
    with pytest.raises(SandboxUnavailable):
        await made(exchange(candidate(RIGHT), candidate(WRONG)), sandbox=broken)
    async with confined() as sandbox:
        faulty = exchange(candidate(RIGHT), candidate(WRONG), suite=AssertSuite("assert ("))
        found, tally = await made(faulty, sandbox=sandbox)
    assert found == []
    assert tally.prompts == {"its suite cannot be run": 1}


async def test_what_was_run_is_not_run_again(tmp_path: Path) -> None:
    file = tmp_path / "runs.jsonl"
    asked = exchange(*map(candidate, (RIGHT, HALF)))
    sandbox = ScriptedSandbox({RIGHT: outcome("pass"), HALF: outcome("partial")})
    [group], _ = await made(asked, sandbox=sandbox, runs_file=file)
    file.write_bytes(file.read_bytes()[:-5])  # killed in the middle of a line
    [again], tally = await made(asked, sandbox=sandbox, runs_file=file)
    assert again == group
    assert (len(sandbox.runs), tally.ran) == (3, 1)
    with pytest.raises(DifferentRun, match="limits"):
        await made(asked, sandbox=sandbox, runs_file=file, limits=Limits(wall_s=1))


async def test_what_is_no_file_of_runs_is_named(tmp_path: Path) -> None:
    file = tmp_path / "runs.jsonl"
    Runs(None, Limits(), at_once=1, file=file)
    file.write_text('{"run": "a", "class": "fine", "fraction": null}\n')
    with pytest.raises(BadGroups, match="line 1: is no run"):
        Runs(None, Limits(), at_once=1, file=file)


async def test_another_suite_is_another_run() -> None:
    sandbox = ScriptedSandbox(outcome("pass"))
    runs = Runs(sandbox, Limits(), at_once=2)
    for suite_hash in ("a", "b", "a"):
        verdict = await runs.verdict(Program(completion=RIGHT), AssertSuite("assert 1"), suite_hash)
        assert (verdict.program_class, verdict.fraction) == (ProgramClass.PASS, 1.0)
    assert (runs.ran, len(sandbox.runs)) == (2, 2)


def a_log(folder: Path, many: int) -> None:
    """A real store with exchanges whose candidates were not run."""

    async def fill() -> None:
        store = SqlStore.open(folder / "touchstone.db")
        asked = [
            exchange(*(candidate(f"    return x + {m}") for m in (1, n + 2)), number=n, prompt=f"# {n}\ndef inc(x):\n")
            for n in range(many)
        ]
        await asyncio.gather(*map(store.record, asked))
        await store.record(replace(exchange(candidate(RIGHT, "pass"), number=many), id="eval", purpose="eval"))
        await store.aclose()

    asyncio.run(fill())


@pytest.mark.usefixtures("isolated")
def test_killed_and_started_again_it_goes_on_and_makes_the_same(tmp_path: Path) -> None:
    a_log(tmp_path, 60)
    out, runs = tmp_path / "groups.jsonl", tmp_path / "groups.runs.jsonl"
    asked = ["groups", "--state-dir", str(tmp_path), "--out"]
    command = [sys.executable, "-m", "touchstone", "train", *asked, str(out)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        while process.poll() is None and (not runs.exists() or runs.read_bytes().count(b"\n") < 20):
            pass
        process.send_signal(signals.SIGKILL)
    assert process.returncode == -signals.SIGKILL, "it was done before it could be killed"
    done = runs.read_bytes().count(b"\n")
    assert not out.exists()
    assert {path.name for path in tmp_path.iterdir() if "tmp" not in path.name and "touchstone" not in path.name} == {
        runs.name,
        runs.name + ".run.json",
    }, "nobody's code stays behind"
    first = CliRunner().invoke(app, [*asked, str(out)])
    assert first.exit_code == 0, first.output
    said = json.loads(first.stdout)
    assert (said["groups"], said["ran"]) == (60, 120 - done)
    other = CliRunner().invoke(app, [*asked, str(tmp_path / "other.jsonl.gz")])
    assert json.loads(other.stdout)["hash"] == said["hash"]
    assert len(list(read_groups(out))) == 60


@pytest.mark.usefixtures("isolated")
def test_the_command_tells_what_it_made_and_left_out(tmp_path: Path) -> None:
    a_log(tmp_path, 3)
    exported = tmp_path / "log.jsonl.gz"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    export = ["feedback", "export", "--state-dir", str(tmp_path), "--out", str(exported)]
    subprocess.run([sys.executable, "-m", "touchstone", *export], cwd=ROOT, env=environment, check=True)
    problem = Problem(task_id="p", prompt="# 1\ndef inc(x):\n", test="assert inc(1) == 2")
    write_problems(tmp_path / "held.jsonl", [problem])
    (tmp_path / "big.jsonl").write_text(
        json.dumps({"prompt": "# 2\ndef inc(x):\n", "completion": "    return 1 + x", "model": "big"}) + "\n"
    )
    options = ["--suite", str(tmp_path / "held.jsonl"), "--teacher", str(tmp_path / "big.jsonl"), "--held-out", "0"]
    asked = ["groups", "--log", str(exported), "--log", str(exported), "--out", str(tmp_path / "g.jsonl"), *options]
    missing = CliRunner().invoke(app, [*asked, "--log", "nowhere.jsonl"])
    assert "--log: there is no file nowhere.jsonl" in missing.output
    done = CliRunner().invoke(app, asked)
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    assert (said["read"], said["groups"], said["contaminated"]) == (8, 2, {"held": 1})
    assert said["left_out"] == {"purpose eval": 2, "read twice": 3}
    assert said["sources"] == {"student": 4, "teacher": 1}
    assert said["splits"] == {"train": 2}


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        (["--out", "groups.txt"], "--out: groups.txt must end in .jsonl"),
        (["--out", "nowhere/groups.jsonl"], "--out: there is no folder nowhere"),
        (["--log", "nowhere.jsonl"], "--log: give it or --state-dir, not both"),
        (["--database", "sqlite:///x"], "--database: give it or --state-dir, not both"),
        (["--ratings", "5"], "--ratings: '5' is not two numbers"),
        (["--share", "0"], "--share: must be above 0"),
        (["--suite", "nothing"], "unknown suite 'nothing'"),
        (["--teacher", "nowhere.jsonl"], "nowhere.jsonl: cannot be read"),
        (["--held-out", "1"], "held_out_share: "),
        ([], "there is no database at"),
    ],
)
def test_what_is_asked_wrong_is_named(tmp_path: Path, options: list[str], fault: str) -> None:
    defaults = ["--state-dir", str(tmp_path), "--out", str(tmp_path / "g.jsonl")]
    done = CliRunner().invoke(app, ["groups", *defaults, *options])
    assert done.exit_code == 2
    assert fault in done.output
    assert "Traceback" not in done.output
