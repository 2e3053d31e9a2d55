"""A ranking goes into the log and comes out to be ranked anew: by the same method the same, by another as it would."""

import asyncio
import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from engine import Scripted, ScriptedEngine, Text
from feedback import SqlStore, candidates_of, exchange_from, task_of, without_text
from feedback.cli import app
from feedback.rescore import check_methods
from feedback.suites import suite_to_data
from reranker import InvalidRequest, Options, Ranking, Task, best_of_n, create_scorer
from reranker.trials import writing_prompt
from sandbox import AssertSuite, Call, CallSuite, LocalSandbox
from tests.feedback.records import exchange, signal

HEADER = 'def f(x):\n    """Add one.\n\n    >>> f(0)\n    1\n    """\n'
LIKELY = Scripted("    return 1", -0.1)
COMPLETIONS: list[str | Scripted] = [LIKELY, "    return x + 1", "    return 1 + x", "    return x"]
TESTS = " f(1) == 2\nassert f(2) == 3\nassert f(5) == 6\n"


async def ranked(**options: Any) -> Ranking:
    task = Task(id="t", prompt=Text(HEADER), prefix=HEADER)
    prompt = writing_prompt(task)
    assert isinstance(prompt, Text)
    script: dict[str, list[str | Scripted]] = {HEADER: COMPLETIONS, prompt.text: [TESTS]}
    engine = ScriptedEngine(script)
    chosen: dict[str, Any] = {"num_candidates": 4, "include_greedy": False, "early_exit": "off"}
    chosen |= {"generate_tests": 5} | options
    async with LocalSandbox() as sandbox:
        return await best_of_n(task, Options(**chosen), engine=engine, sandbox=sandbox)


def logged(ranking: Ranking, name: str = "cmpl-1") -> Any:
    return exchange_from(
        ranking,
        id=name,
        created_at=datetime(2026, 5, 1, tzinfo=UTC),
        route="/v1/completions",
        purpose="traffic",
        key_id=None,
        session_id=None,
        model="m",
        round=0,
        engine="scripted",
        dtype="none",
        config_hash="",
    )


def fill(path: Path, *records: Any, signals: list[Any] | None = None) -> None:
    async def work() -> None:
        store = SqlStore.open(path)
        await asyncio.gather(*(store.record(record) for record in records))
        await store.signals(signals or [])
        await store.aclose()

    asyncio.run(work())


def run(*arguments: str | Path) -> Any:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.mark.isolation
@pytest.mark.parametrize("options", [{}, {"method": "clusters", "generate_tests": 0}])
async def test_what_was_seen_is_kept(options: dict[str, Any], tmp_path: Path) -> None:
    ranking = await ranked(**options)
    store = SqlStore.open(tmp_path / "log.db")
    await store.record(logged(ranking))
    kept, _ = await store.get("cmpl-1")
    await store.aclose()
    assert task_of(kept).trials == ranking.task.trials
    again = candidates_of(kept)
    assert [(c.text, c.outcome, c.trial, c.duplicate_of) for c in again] == [
        (c.text, c.outcome, c.trial, c.duplicate_of) for c in ranking.candidates
    ]
    assert [c.mean_logprob for c in again] == pytest.approx([c.mean_logprob for c in ranking.candidates])
    assert [c.sum_logprob for c in again] == pytest.approx([c.sum_logprob for c in ranking.candidates])
    for method, scores in ranking.scores.items():
        anew = await create_scorer(method).score(task_of(kept), again)
        assert [score.value for score in anew] == pytest.approx([score.value for score in scores]), method


@pytest.mark.isolation
def test_the_log_is_ranked_anew(tmp_path: Path) -> None:
    ranking = asyncio.run(ranked())
    assert ranking.chosen[0].text == "    return x + 1"
    shown, other = logged(ranking), exchange(2)
    fill(tmp_path / "touchstone.db", shown, other, signals=[signal(shown)])
    out = tmp_path / "out.jsonl"
    done = run("rescore", "--out", out, "--method", "b4", "--method", "likelihood", "--state-dir", tmp_path)
    assert done.exit_code == 0, done.output
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    by = {(line["task_id"], line["method"]): line for line in lines}
    assert by["cmpl-1", "b4"]["ranking"] == list(ranking.order)
    assert by["cmpl-1", "b4"]["scores"] == [score.value for score in ranking.scores["b4"]]
    assert by["cmpl-1", "likelihood"]["ranking"][0] == 0
    assert (
        by[exchange(2).id.rsplit("-", 1)[0] + "-" + lines[-1]["task_id"].rsplit("-", 1)[1], "b4"]["scores"]
        == [None] * 3
    )
    table = [line.split("│")[1:-1] for line in done.output.splitlines() if "│" in line]
    counts = {row[0].strip(): [int(cell) for cell in row[1:]] for row in table}
    assert counts["b4"] == [1, 1, 0, 1, 1]
    assert counts["likelihood"] == [2, 0, 1, 0, 1]


def test_without_text_an_exchange_is_left_out(tmp_path: Path) -> None:
    record = exchange(1)
    fill(tmp_path / "touchstone.db", without_text(replace(record, candidates=())), without_text(exchange(3)))
    out = tmp_path / "out.jsonl"
    done = run("rescore", "--out", out, "--method", "likelihood", "--state-dir", tmp_path)
    assert (done.exit_code, out.read_text()) == (0, "")


def test_an_unknown_method_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    done = run("rescore", "--out", tmp_path / "out.jsonl", "--method", "vibes", "--state-dir", tmp_path)
    assert done.exit_code == 2
    assert "likelihood" in done.output


@pytest.mark.parametrize("method", ["auto", "verifier", "features", "discriminator", "off"])
def test_a_method_that_cannot_score_here_is_known_and_refused(tmp_path: Path, method: str) -> None:
    with pytest.raises(InvalidRequest, match="known here: likelihood") as caught:
        check_methods([method])
    assert "unknown" not in str(caught.value)
    assert run("rescore", "--out", tmp_path / "o", "--method", method, "--state-dir", tmp_path).exit_code == 2


CALLS = suite_to_data(CallSuite(calls=(Call(function="f", args=(0,), expected=1),)))
ASSERTS = suite_to_data(AssertSuite(code="assert f(0) == 1"))


@pytest.mark.parametrize(
    ("asked", "decided", "suite", "ran"),
    [
        ("auto", "tests", CALLS, "tests"),
        ("auto", "examples", CALLS, "examples"),
        ("examples", "likelihood", CALLS, "examples"),
        ("verifier", "verifier", ASSERTS, "tests"),
        ("verifier", "verifier", CALLS, ""),
    ],
)
def test_an_outcome_is_of_tests_or_of_examples(
    tmp_path: Path, asked: str, decided: str, suite: dict[str, Any], ran: str
) -> None:
    record = replace(exchange(1), suite=suite, method=decided, options={"method": asked})
    fill(tmp_path / "touchstone.db", record)
    out = tmp_path / "out.jsonl"
    done = run("rescore", "--out", out, "--method", "examples", "--method", "tests", "--state-dir", tmp_path)
    assert done.exit_code == 0, done.output
    scored = {line["method"] for line in map(json.loads, out.read_text().splitlines()) if line["scores"] != [None] * 3}
    assert scored == ({ran} if ran else set())


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    fill(tmp_path / "touchstone.db", exchange(1))
    for out in (tmp_path / "nowhere" / "out.jsonl", tmp_path):
        done = run("rescore", "--out", out, "--method", "likelihood", "--state-dir", tmp_path)
        assert done.exit_code == 1
        assert f"'{out}'" in done.output
        assert ".tmp" not in done.output


@pytest.mark.parametrize(
    ("dedupe", "method", "looked"), [("ast", "b4", True), ("ast", "off", False), ("off", "b4", False)]
)
def test_whether_equal_programs_were_looked_for_is_known_again(dedupe: str, method: str, looked: bool) -> None:
    record = replace(exchange(1), method=method, options={"dedupe": dedupe})
    assert {candidate.deduped for candidate in candidates_of(record)} == {looked}
