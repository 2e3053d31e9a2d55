"""The record of a ranking, worked out by hand."""

import math
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from engine import Chat, Fim, Message, Sampling, ScriptedEngine, Text, TokenIds, TokenLogprob
from feedback import Exchange, SqlStore, TestCounts, exchange_from, prompt_hash, suite_to_data, task_of, without_text
from feedback.checks import check_exchange
from feedback.lossless import dumps, loads
from feedback.verify import exchange_problems, problems
from reranker import Candidate, Options, Ranking, Score, Task, best_of_n
from sandbox import AssertSuite, Call, CallSuite, Outcome, ScriptedSandbox, Status, TestOutcome

SUITE = CallSuite((Call(function="f", args=(1,), expected={1, 2}), Call(function="f", args=(0,), expected=None)))
PASSED = TestOutcome(index=0, status=Status.PASSED, cpu_s=0.01)
RAISED = TestOutcome(index=1, status=Status.RUNTIME_ERROR, exception_type="KeyError", exception_message="'\ud800'")
NOT_RUN = TestOutcome(index=1, status=Status.NOT_RUN)


def ranking(**changes: Any) -> Ranking:
    """Three candidates: one partial, one that passes and is shown, one cancelled before it was run."""
    cancelled = Score(None, "cancelled")
    made = Ranking(
        task=Task(id="t", prompt=Text("def f(x):\n"), prefix="def f(x):\n", entry_point="f", suite=SUITE),
        options=Options(n=1, num_candidates=3, sampling=Sampling(temperature=0.8, stop=("\n\n",))),
        status="early_exit",
        method="tests",
        candidates=(
            Candidate(
                index=0,
                text="    return x",
                raw_text="    return x\n\n",
                finish_reason="stop",
                tokens=(TokenLogprob(1, "    return", -0.5), TokenLogprob(2, " x", -1.5)),
                token_count=3,
                greedy=True,
                outcome=Outcome(status=Status.RUNTIME_ERROR, tests=(PASSED, RAISED), tier="A"),
                generate_s=0.2,
                execute_s=0.05,
            ),
            Candidate(
                index=1,
                text="    return {1, 2}",
                raw_text="    return {1, 2}",
                finish_reason="length",
                tokens=(TokenLogprob(1, "    return", -0.25),),
                token_count=1,
                outcome=Outcome(status=Status.PASSED, tests=(PASSED, replace(PASSED, index=1))),
            ),
            Candidate(index=2, text="", raw_text="", finish_reason="cancelled", duplicate_of=0),
        ),
        order=(1, 0, 2),
        scores={"tests": (Score(0.5), Score(1.0), cancelled), "odd": (Score(math.nan), Score(-math.inf), cancelled)},
        suite=SUITE,
        prompt_tokens=4,
        queue_s=0.1,
        total_s=0.9,
        seed_honoured=True,
    )
    return replace(made, **changes)


def record(of: Ranking) -> Exchange:
    return exchange_from(
        of,
        id="cmpl-1",
        created_at=datetime(2026, 5, 1, tzinfo=UTC),
        route="/v1/completions",
        purpose="traffic",
        key_id="key",
        session_id=None,
        model="tiny:1-int8.r2",
        round=2,
        engine="scripted",
        dtype="float32",
        config_hash="b2:0",
    )


def test_the_exchange() -> None:
    made = record(ranking())
    check_exchange(made)
    assert (made.id, made.key_id, made.round, made.method, made.status) == ("cmpl-1", "key", 2, "tests", "early_exit")
    assert made.prompt == {"kind": "text", "text": "def f(x):\n"}
    assert made.prompt_hash == prompt_hash(made.prompt)
    assert made.task == {"shape": "completion", "prefix": None, "suffix": "", "entry_point": "f"}
    assert made.options["sampling"]["stop"] == ["\n\n"]
    assert made.options["num_candidates"] == 3
    assert made.suite == suite_to_data(SUITE)
    assert (made.prompt_tokens, made.sampled_tokens, made.returned_tokens) == (4, 4, 1)
    assert made.timings_s["queue"] == 0.1
    assert made.timings_s["prefill"] is None
    assert made.seed_honoured
    assert list(exchange_problems(made, ())) == []


def test_its_candidates() -> None:
    partial, best, cancelled = record(ranking()).candidates
    assert [(c.index, c.rank, c.choice) for c in (partial, best, cancelled)] == [(0, 1, None), (1, 0, 0), (2, 2, None)]
    assert (partial.text, partial.raw_text, partial.greedy) == ("    return x", "    return x\n\n", True)
    assert (partial.sum_logprob, partial.mean_logprob, partial.token_count) == (-2.0, -1.0, 3)
    assert partial.tests == TestCounts(passed=1, failed=0, errored=1, not_run=0)
    assert (partial.program_class, partial.run_status, best.program_class) == ("partial", "runtime_error", "pass")
    assert partial.outcome is not None
    assert partial.outcome["tests"][1]["exception_message"] == "'\ud800'"
    assert (partial.generate_s, partial.execute_s, best.execute_s) == (0.2, 0.05, None)


def test_what_was_not_run_is_none() -> None:
    partial, best, cancelled = record(ranking()).candidates
    assert (cancelled.tests, cancelled.outcome, cancelled.program_class, cancelled.run_status) == (None,) * 4
    assert (cancelled.sum_logprob, cancelled.mean_logprob, cancelled.duplicate_of) == (None, None, 0)
    assert cancelled.scores == {"tests": None, "odd": None}
    assert cancelled.score_reasons == {"tests": "cancelled", "odd": "cancelled"}
    assert partial.scores == {"tests": 0.5, "odd": None}
    assert best.scores == {"tests": 1.0, "odd": -math.inf}


def test_tests_not_run_are_counted_as_such() -> None:
    outcome = Outcome(status=Status.NOT_RUN, tests=(NOT_RUN,))
    candidates = tuple(replace(candidate, outcome=outcome) for candidate in ranking().candidates)
    made = record(ranking(candidates=candidates)).candidates[0]
    assert made.tests == TestCounts(passed=0, failed=0, errored=0, not_run=1)
    assert made.program_class is None


def test_a_record_is_plain_data() -> None:
    made = record(ranking())
    for data in (made.prompt, made.task, made.options, made.suite, *(c.outcome for c in made.candidates)):
        assert loads(dumps(data)) == data


@pytest.mark.parametrize(
    "task",
    [
        Task(id="cmpl-1", prompt=Text("def g():\n"), prefix="def g():\n", suite=SUITE),
        Task(id="cmpl-1", prompt=Text("say \ud800"), prefix="", entry_point="f"),
        Task(id="cmpl-1", prompt=TokenIds((1, 2)), suite=AssertSuite("assert f(1)", visible=False)),
        Task(id="cmpl-1", prompt=TokenIds((1, 2)), prefix="decoded"),
        Task(id="cmpl-1", prompt=Fim("a", "b"), shape="fim", prefix="a", suffix="b"),
        Task(id="cmpl-1", prompt=Chat((Message("system", "s"), Message("user", "u"))), shape="chat", prefix="u"),
        Task(id="cmpl-1", prompt=Chat((Message("user", "u"),)), shape="chat", prefix="other"),
    ],
)
def test_the_task_comes_back(task: Task) -> None:
    assert task_of(record(ranking(task=task, suite=task.suite))) == task


def test_hashes_and_numbers_only() -> None:
    made = without_text(record(ranking()))
    kept = dumps([made.prompt, made.task, made.options, made.suite, [str(c) for c in made.candidates]])
    for private in ("return", "def f", "KeyError", "ud800", r"\n"):
        assert private not in kept
    assert made.prompt_hash == record(ranking()).prompt_hash
    assert made.suite is not None
    assert made.suite["hash"] == suite_to_data(SUITE)["hash"]
    assert made.candidates[0].tests == TestCounts(passed=1, failed=0, errored=1, not_run=0)
    assert list(exchange_problems(made, ())) == []


async def test_a_ranking_as_it_is_made_goes_there_and_back(tmp_path: Path) -> None:
    suite = CallSuite((Call(function="f", args=(1,), expected=2),))
    good, bad = "    return x + 1\n", "    return x\n"
    outcomes = {good: Outcome(status=Status.PASSED, tests=(PASSED,)), bad: Outcome(status=Status.WRONG_ANSWER)}
    task = Task(id="cmpl-1", prompt=Text("def f(x):\n"), prefix="def f(x):\n", entry_point="f", suite=suite)
    options = Options(num_candidates=3, early_exit="off")
    engine = ScriptedEngine({"def f(x):\n": [bad, good]})
    sandbox = ScriptedSandbox(lambda program, _suite, _limits: outcomes[program.completion.rstrip() + "\n"])
    made = record(await best_of_n(task, options, engine=engine, sandbox=sandbox))
    await engine.aclose()
    store = SqlStore.open(tmp_path / "log.db")
    await store.record(made)
    assert await store.get(made.id) == (made, ())
    assert [problem async for problem in problems(store)] == []
    await store.aclose()
    assert len(made.candidates) == 3
    (chosen,) = (candidate for candidate in made.candidates if candidate.choice == 0)
    assert chosen.program_class == "pass"
    assert task_of(made) == task
