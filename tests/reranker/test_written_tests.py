"""Tests that the model writes, repair and adaptive sampling, through `best_of_n` with a real sandbox."""

from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
import pytest_asyncio

from engine import Chat, Message, Sampling, Scripted, ScriptedEngine, Text
from reranker import InvalidRequest, JudgeFailed, Options, Ranking, Task, best_of_n
from reranker.trials import writing_prompt
from sandbox import (
    NOBODYS,
    AssertSuite,
    CallSuite,
    LaunchFailed,
    Limits,
    LocalSandbox,
    OnTest,
    Outcome,
    Program,
    Sandbox,
    ScriptedSandbox,
    Suite,
    Whose,
)

pytestmark = [pytest.mark.isolation, pytest.mark.asyncio(loop_scope="module")]

HEADER = 'def f(x):\n    """Add one."""\n'
TASK = Task(id="t", prompt=Text(HEADER), prefix=HEADER)
RIGHT, RIGHT_TOO, WRONG, LIKELY = "    return x + 1", "    return 1 + x", "    return x - 1", "    return x"
WRITTEN = " f(1) == 2\nassert f(2) == 3\nassert f(5) == 6\nassert f(0) == 7\n"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sandbox() -> AsyncIterator[LocalSandbox]:
    async with LocalSandbox() as sandbox:
        yield sandbox


def prompt_for_tests(task: Task) -> str:
    prompt = writing_prompt(task)
    assert isinstance(prompt, Text)
    return prompt.text


async def rank(
    completions: Sequence[Any],
    sandbox: Sandbox | None,
    *,
    tests: Sequence[Any] = (WRITTEN,),
    task: Task = TASK,
    script: dict[str, Sequence[Any]] | None = None,
    **options: Any,
) -> Ranking:
    engine = ScriptedEngine({task.prefix: list(completions), prompt_for_tests(task): list(tests), **(script or {})})
    chosen = {"num_candidates": len(completions), "include_greedy": False} | options
    return await best_of_n(task, Options(**chosen), engine=engine, sandbox=sandbox)


async def test_those_who_agree_with_the_written_tests_win(sandbox: LocalSandbox) -> None:
    completions = [Scripted(LIKELY, -0.1), RIGHT, WRONG, RIGHT_TOO]
    ranking = await rank(completions, sandbox, generate_tests=10)
    assert (ranking.status, ranking.method, ranking.methods) == ("complete", "srank", ("srank",))
    assert ranking.chosen[0].text == RIGHT
    assert ranking.num_trials == 4
    assert ranking.num_passing == 0  # nobody vouches for a written test: it makes no class
    assert ranking.sampled_tokens == sum(c.token_count for c in ranking.candidates) + ranking.side_tokens
    assert ranking.side_tokens == 2 * (len(WRITTEN) + 1)
    assert {"b4", "agreement", "agreement_sqrt", "clusters", "srank", "likelihood"} == set(ranking.scores)
    assert all(score.cost_s > 0 for score in ranking.scores["b4"])
    # Two candidates by three tests, each written twice.
    assert [score.value for score in ranking.scores["agreement"]] == [
        None,
        12.0,
        None,
        12.0,
    ]


async def test_what_is_checked_comes_before_what_is_agreed(sandbox: LocalSandbox) -> None:
    """All but one agree on something that the suite says is wrong; among those it passes, agreement decides."""
    suite = AssertSuite("assert f(1) == 2")
    only = "    return 2"
    tests = " f(1) == 1\nassert f(2) == 2\nassert f(9) == 10\nassert f(8) == 9\n"
    task = Task(id="t", prompt=Text(HEADER), prefix=HEADER, suite=suite)
    completions = [Scripted(only, -0.1), LIKELY, LIKELY + "  # same", RIGHT]
    ranking = await rank(completions, sandbox, tests=[tests], task=task, generate_tests=5, early_exit="off")
    assert ranking.methods == ("tests", "srank")
    assert ranking.chosen[0].text == RIGHT
    assert [c.trial is not None for c in ranking.candidates] == [True, False, False, True]


async def test_tests_that_cannot_be_read_leave_auto_to_the_rest_and_degrade_a_method_that_needs_them(
    sandbox: LocalSandbox,
) -> None:
    junk = ["I cannot do that", " f(__) == y\n", ""]
    ranking = await rank([RIGHT, Scripted(WRONG, -0.1)], sandbox, tests=junk, generate_tests=15)
    assert (ranking.status, ranking.method, ranking.num_trials) == ("complete", "likelihood", 0)
    ranking = await rank([RIGHT, Scripted(WRONG, -0.1)], sandbox, tests=junk, generate_tests=15, method="b4")
    assert (ranking.status, ranking.method) == ("degraded", "likelihood")
    assert "no test" in ranking.reason
    assert ranking.chosen[0].text == WRONG


async def test_a_sandbox_that_fails_degrades_or_fails_as_asked() -> None:
    broken = ScriptedSandbox(LaunchFailed("no forks left"))
    ranking = await rank([RIGHT, Scripted(WRONG, -0.1)], broken, generate_tests=5)
    assert (ranking.status, ranking.method) == ("degraded", "likelihood")
    assert "no forks left" in ranking.reason
    with pytest.raises(JudgeFailed, match="no forks left"):
        await rank([RIGHT, WRONG], broken, generate_tests=5, on_error="fail")
    ranking = await rank([RIGHT, Scripted(WRONG, -0.1)], None, generate_tests=5)
    assert (ranking.status, ranking.not_judged) == ("degraded", ("sandbox_unavailable",))


@pytest.mark.parametrize("completions", [[RIGHT], [RIGHT] * 4, [WRONG, LIKELY], ["    return x.y", "    boom("]])
async def test_one_all_alike_and_all_failing_are_answered(sandbox: LocalSandbox, completions: list[str]) -> None:
    ranking = await rank(completions, sandbox, generate_tests=5)
    assert ranking.status == "complete"
    assert sorted(ranking.order) == list(range(len(completions)))


async def test_a_method_can_be_asked_for_by_name(sandbox: LocalSandbox) -> None:
    completions = [Scripted(LIKELY, -0.1), RIGHT, RIGHT_TOO, WRONG]
    for method in ("agreement", "agreement_sqrt", "b4", "srank", "clusters"):
        ranking = await rank(completions, sandbox, generate_tests=5, method=method)
        assert (ranking.status, ranking.method, ranking.chosen[0].text) == ("complete", method, RIGHT)


async def test_clusters_take_inputs_from_the_examples(sandbox: LocalSandbox) -> None:
    shown = 'def f(x):\n    """Add one.\n\n    >>> f(1)\n    2\n    """\n'
    task = Task(id="t", prompt=Text(shown), prefix=shown)
    ranking = await rank([Scripted(LIKELY, -0.1), RIGHT, RIGHT_TOO], sandbox, task=task, method="clusters")
    assert (ranking.status, ranking.chosen[0].text) == ("complete", RIGHT)
    assert ranking.num_trials >= 4
    without = await rank([RIGHT, WRONG], sandbox, method="clusters")
    assert (without.status, without.method) == ("degraded", "likelihood")


async def test_repair_shows_what_failed_and_the_mended_compete(sandbox: LocalSandbox) -> None:
    task = Task(id="t", prompt=Text(HEADER), prefix=HEADER, suite=AssertSuite("assert f(1) == 2\nassert f(2) == 3"))
    asked: list[str] = []

    def script(prompt: str) -> list[str]:
        asked.append(prompt)
        return [WRONG, LIKELY] if prompt == HEADER else [RIGHT] if "f(1) == 2" in prompt else [WRONG]

    engine = ScriptedEngine(script)
    options = Options(num_candidates=2, include_greedy=False, repair_rounds=1)
    ranking = await best_of_n(task, options, engine=engine, sandbox=sandbox)
    assert ranking.chosen[0].text == RIGHT
    assert ranking.chosen[0].repairs in (0, 1)
    assert ranking.num_passing >= 1
    shown = next(prompt for prompt in asked if "wrong" in prompt)
    assert "assert f(1) == 2" in shown
    assert "the answer is 0" in shown or "the answer is 1" in shown
    assert shown.endswith(HEADER)


async def test_a_chat_is_asked_to_mend_in_two_more_turns(sandbox: LocalSandbox) -> None:
    text = "Write f that adds one.\n>>> f(1)\n2"
    first = "```python\ndef f(x):\n    return x\n```"
    task = Task(id="t", prompt=Chat((Message("user", text),)), shape="chat", prefix=text)
    asked: list[str] = []

    def script(prompt: str) -> list[str]:
        asked.append(prompt)
        return ["def f(x):\n    return x + 1"] if "not right yet" in prompt else [first]

    options = Options(num_candidates=1, repair_rounds=1)
    ranking = await best_of_n(task, options, engine=ScriptedEngine(script), sandbox=sandbox)
    assert ranking.chosen[0].text == "def f(x):\n    return x + 1"
    assert "f(1) should return 2, but the answer is 1" in asked[-1]


async def test_hidden_tests_are_never_shown_to_the_model() -> None:
    hidden = AssertSuite("assert f(1) == 2", visible=False)
    task = Task(id="t", prompt=Text(HEADER), prefix=HEADER, suite=hidden)
    with pytest.raises(InvalidRequest, match="hidden"):
        await rank([WRONG], None, task=task, repair_rounds=1)


async def test_adaptive_sampling_ends_at_the_greedy_one_that_passes(sandbox: LocalSandbox) -> None:
    task = Task(id="t", prompt=Text(HEADER), prefix=HEADER, suite=AssertSuite("assert f(1) == 2"))
    completions = [RIGHT, WRONG, LIKELY, RIGHT_TOO] * 4
    ranking = await rank(completions, sandbox, task=task, adaptive=True, include_greedy=True)
    assert (len(ranking.candidates), ranking.candidates[0].greedy) == (1, True)
    ranking = await rank([WRONG, LIKELY, RIGHT] * 6, sandbox, task=task, adaptive=True)
    assert (len(ranking.candidates), ranking.chosen[0].text) == (4, RIGHT)


async def test_adaptive_sampling_ends_where_the_agreement_is_clear(sandbox: LocalSandbox) -> None:
    completions = [RIGHT, RIGHT_TOO, "    y = x\n    return y + 1"] * 20
    tests = " f(1) == 2\nassert f(2) == 3\nassert f(5) == 6\n"
    ranking = await rank(completions, sandbox, tests=[tests], generate_tests=20, adaptive=True)
    assert (ranking.status, len(ranking.candidates)) == ("early_exit", 16)
    assert ranking.chosen[0].text == RIGHT


async def test_a_deadline_ends_writing_too(sandbox: LocalSandbox) -> None:
    slow = Scripted(" f(1) == 2\n", delay_s=1.0)
    ranking = await rank([RIGHT, WRONG], sandbox, tests=[slow], generate_tests=5, deadline_s=0.5)
    assert (ranking.status, ranking.method) == ("deadline", "likelihood")


class _Counting:
    """A real sandbox that notes which suites it ran."""

    def __init__(self, sandbox: LocalSandbox) -> None:
        self.suites: list[Suite] = []
        self._sandbox = sandbox

    async def run(
        self,
        program: Program,
        suite: Suite,
        limits: Limits,
        on_test: OnTest | None = None,
        *,
        whose: Whose = NOBODYS,
    ) -> Outcome:
        self.suites.append(suite)
        return await self._sandbox.run(program, suite, limits, on_test, whose=whose)

    async def aclose(self) -> None: ...


async def test_a_program_is_tried_once_on_all_tests_together(sandbox: LocalSandbox) -> None:
    counting = _Counting(sandbox)
    await rank([RIGHT, RIGHT + "  # same", WRONG, LIKELY], counting, generate_tests=20)
    assert len(counting.suites) == 3
    assert len(set(map(id, counting.suites))) == 1


class _BreaksOnTrials:
    """A real sandbox that fails for whatever is observed."""

    def __init__(self, sandbox: LocalSandbox) -> None:
        self._sandbox = sandbox

    async def run(
        self,
        program: Program,
        suite: Suite,
        limits: Limits,
        on_test: OnTest | None = None,
        *,
        whose: Whose = NOBODYS,
    ) -> Outcome:
        if isinstance(suite, CallSuite) and suite.observed:
            raise LaunchFailed("no room")
        return await self._sandbox.run(program, suite, limits, on_test, whose=whose)

    async def aclose(self) -> None: ...


@pytest.mark.parametrize("early_exit", ["first_pass", "off"])
async def test_trials_that_fail_take_nothing_from_what_was_checked(sandbox: LocalSandbox, early_exit: str) -> None:
    task = Task(id="t", prompt=Text(HEADER), prefix=HEADER, suite=AssertSuite("assert f(1) == 2"))
    completions = [Scripted(LIKELY, -0.1), RIGHT, RIGHT_TOO]
    options: dict[str, Any] = {"generate_tests": 5, "early_exit": early_exit, "n": 3}
    ranking = await rank(completions, _BreaksOnTrials(sandbox), task=task, **options)
    assert (ranking.status, ranking.method) == ("degraded", "tests")
    assert "no room" in ranking.reason
    assert ranking.chosen[0].text in (RIGHT, RIGHT_TOO)
    alone = await rank(completions, _BreaksOnTrials(sandbox), generate_tests=5, method="b4")
    assert (alone.status, alone.method) == ("degraded", "likelihood")


@pytest.mark.parametrize("call", ["f()", "f(None)"])
async def test_examples_that_leave_nothing_to_vary_degrade(sandbox: LocalSandbox, call: str) -> None:
    shown = f'def f(x=0):\n    """Three.\n\n    >>> {call}\n    3\n    """\n'
    task = Task(id="t", prompt=Text(shown), prefix=shown)
    ranking = await rank(["    return 3", "    return 4"], sandbox, task=task, method="srank")
    assert (ranking.status, ranking.method) == ("degraded", "likelihood")
    with pytest.raises(JudgeFailed, match="no examples"):
        await rank(["    return 3"], sandbox, task=task, method="srank", on_error="fail")


async def test_inputs_are_made_up_where_no_written_test_can_be_read(sandbox: LocalSandbox) -> None:
    shown = 'def f(x):\n    """Add one.\n\n    >>> f(1)\n    2\n    """\n'
    task = Task(id="t", prompt=Text(shown), prefix=shown)
    completions = [Scripted(LIKELY, -0.1), RIGHT, RIGHT_TOO]
    ranking = await rank(completions, sandbox, tests=["no"], task=task, method="clusters", generate_tests=5)
    assert (ranking.status, ranking.method, ranking.chosen[0].text) == ("complete", "clusters", RIGHT)
    with pytest.raises(JudgeFailed, match="no test"):
        await rank(completions, sandbox, tests=["no"], task=task, method="b4", generate_tests=5, on_error="fail")


async def test_repair_keeps_to_its_rounds(sandbox: LocalSandbox) -> None:
    """Mended programs are worse than the first ones, so that the first are mended again and again."""
    task = Task(id="t", prompt=Text(HEADER), prefix=HEADER, suite=AssertSuite("assert f(1) == 2"))

    def script(prompt: str) -> list[Scripted]:
        if prompt == HEADER:
            return [Scripted(f"    return x - {number}", -0.1) for number in range(16)]
        return [Scripted(f"    return x * {len(prompt)} - {number}", -3.0) for number in range(4)]

    options = Options(num_candidates=16, include_greedy=False, repair_rounds=2)
    ranking = await best_of_n(task, options, engine=ScriptedEngine(script), sandbox=sandbox)
    assert (len(ranking.candidates), ranking.num_repaired) == (48, 32)


async def test_a_prompt_that_is_too_long_to_mend_is_not_mended(sandbox: LocalSandbox) -> None:
    task = Task(id="t", prompt=Text(HEADER), prefix=HEADER, suite=AssertSuite("assert f(1) == 2"))
    engine = ScriptedEngine({HEADER: [WRONG]}, context_length=len(HEADER) + 60)
    options = Options(num_candidates=2, include_greedy=False, repair_rounds=1, sampling=Sampling(max_tokens=40))
    ranking = await best_of_n(task, options, engine=engine, sandbox=sandbox)
    assert (ranking.status, ranking.method, ranking.num_repaired) == ("complete", "tests", 0)


async def test_adaptive_sampling_is_greedy_first_only_where_that_is_asked(sandbox: LocalSandbox) -> None:
    task = Task(id="t", prompt=Text(HEADER), prefix=HEADER, suite=AssertSuite("assert f(1) == 2"))
    sampled = Sampling(temperature=0.8)
    for include_greedy, n in ((True, 1), (False, 1), (True, 2)):
        options: dict[str, Any] = {"adaptive": True, "include_greedy": include_greedy, "n": n, "sampling": sampled}
        ranking = await rank([RIGHT, RIGHT_TOO] * 4, sandbox, task=task, **options)
        assert [c.greedy for c in ranking.candidates] == [include_greedy, False][:n]
