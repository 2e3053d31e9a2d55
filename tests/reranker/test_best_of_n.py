"""The story with deterministic doubles: order of events, early exit, deadline, degradation, duplicates."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from engine import ContextTooLong, Event, Finished, Sampling, Scripted, ScriptedEngine, Started, Text, TextPiece
from reranker import InvalidRequest, JudgeFailed, NoCandidates, Options, Ranking, Task, best_of_n
from sandbox import (
    NOBODYS,
    AssertSuite,
    InvalidSuite,
    LaunchFailed,
    Limits,
    OnTest,
    Outcome,
    Program,
    SandboxBusy,
    Status,
    Suite,
    TestOutcome,
    Whose,
)

HEADER = 'def f(x):\n    """Add one."""\n'
SHOWN = 'def f(x):\n    """Add one.\n\n    >>> f(1)\n    2\n    """\n'
GOOD, BAD, CRASH = "    return x + 1\n", "    return x\n", "    return x.y\n"
SUITE = AssertSuite("assert f(1) == 2\nassert f(2) == 3")
LATE = 60.0


class Judge:
    """A sandbox whose verdict is a function of the completion; it notes what it ran and what was cancelled."""

    def __init__(self, error: Exception | None = None, *, hang: Sequence[str] = ()) -> None:
        self.ran: list[str] = []
        self.requests: list[str] = []
        self.cancelled: list[str] = []
        self._error, self._hang = error, hang

    async def run(
        self,
        program: Program,
        suite: Suite,
        limits: Limits,
        on_test: OnTest | None = None,
        *,
        whose: Whose = NOBODYS,
    ) -> Outcome:
        self.ran.append(program.completion)
        self.requests.append(whose.request)
        if self._error is not None:
            raise self._error
        if program.completion in self._hang:
            try:
                await asyncio.sleep(LATE)
            finally:
                self.cancelled.append(program.completion)
        status = (
            Status.PASSED if "x + 1" in program.completion or "1 + x" in program.completion else Status.WRONG_ANSWER
        )
        status = Status.RUNTIME_ERROR if "x.y" in program.completion else status
        return Outcome(status=status, tests=(TestOutcome(index=0, status=status),), tier="A")

    async def aclose(self) -> None: ...


async def rank(
    completions: Sequence[str | Scripted],
    judge: Judge | None,
    *,
    prefix: str = HEADER,
    suite: Suite | None = SUITE,
    **options: Any,
) -> Ranking:
    engine = ScriptedEngine({prefix: list(completions)})
    chosen = {"num_candidates": len(completions), "include_greedy": False} | options
    task = Task(id="t", prompt=Text(prefix), prefix=prefix, suite=suite)
    return await best_of_n(task, Options(**chosen), engine=engine, sandbox=judge)


async def test_the_candidate_that_passes_is_chosen_whatever_its_likelihood() -> None:
    ranking = await rank([Scripted(BAD, -0.1), Scripted(GOOD, -2.0), Scripted(CRASH, -0.2)], Judge(), early_exit="off")
    assert (ranking.status, ranking.method) == ("complete", "tests")
    assert ranking.chosen[0].text == GOOD.rstrip()
    assert ranking.order == (1, 0, 2)
    assert [score.value for score in ranking.scores["tests"]] == [0.0, 1.0, 0.0]
    assert [score.value for score in ranking.scores["likelihood"]] == pytest.approx([-0.1, -2.0, -0.2])
    assert (ranking.num_unique, ranking.num_passing) == (3, 1)
    assert ranking.sampled_tokens == len(BAD) + len(GOOD) + len(CRASH) + 3


async def test_what_was_tested_is_what_is_returned() -> None:
    judge = Judge()
    ranking = await rank([GOOD + "\n\nprint(f(1))\n"], judge)
    assert judge.ran == [ranking.chosen[0].text] == [GOOD.rstrip()]
    assert ranking.candidates[0].raw_text == GOOD + "\n\nprint(f(1))\n"
    assert ranking.returned_tokens == len(GOOD.rstrip())


async def test_equal_programs_are_run_once_and_share_their_outcome() -> None:
    judge = Judge()
    ranking = await rank([BAD, "    return (x)  # same\n", GOOD], judge, early_exit="off")
    assert sorted(judge.ran) == sorted([BAD.rstrip(), GOOD.rstrip()])
    assert ranking.candidates[1].duplicate_of == 0
    assert ranking.candidates[1].outcome == ranking.candidates[0].outcome
    assert ranking.candidates[1].text == ranking.candidates[0].text
    assert (ranking.num_unique, ranking.order[0]) == (2, 2)


async def test_the_first_pass_stops_the_sampling_of_the_others() -> None:
    ranking = await asyncio.wait_for(rank([GOOD, Scripted("    return 0", delay_s=0.5)], Judge()), 10)
    assert ranking.status == "early_exit"
    assert ranking.chosen[0].text == GOOD.rstrip()
    assert ranking.total_s < 4
    assert [c.finish_reason for c in ranking.candidates[1:]] in ([], ["cancelled"])


async def test_two_choices_need_two_passes() -> None:
    ranking = await rank([GOOD, BAD, "    return 1 + x\n"], Judge(), n=2)
    assert {choice.text for choice in ranking.chosen} == {GOOD.rstrip(), "    return 1 + x"}


async def test_a_candidate_runs_while_the_others_still_decode() -> None:
    seen: list[str] = []
    judge = Judge()

    def on_event(event: Event) -> None:
        seen.append(f"{type(event).__name__}{getattr(event, 'candidate', '')}:{len(judge.ran)}")

    engine = ScriptedEngine({HEADER: [BAD, Scripted("    return 0", delay_s=0.01)]})
    task = Task(id="t", prompt=Text(HEADER), prefix=HEADER, suite=SUITE)
    await best_of_n(
        task, Options(num_candidates=2, include_greedy=False), engine=engine, sandbox=judge, on_event=on_event
    )
    assert seen[0] == "Started:0"
    assert "Finished1:1" in seen


async def test_the_deadline_returns_what_there_is() -> None:
    slow = Scripted("    return 0", delay_s=0.05)
    ranking = await rank([BAD, slow], Judge(), deadline_s=0.2)
    assert ranking.status == "deadline"
    assert ranking.chosen[0].text == BAD.rstrip()
    assert ranking.candidates[1].finish_reason == "cancelled"
    assert "    return 0".startswith(ranking.candidates[1].text)


async def test_a_deadline_before_the_first_token_is_an_error() -> None:
    engine = ScriptedEngine({HEADER: [GOOD]}, max_running=0)
    task = Task(id="t", prompt=Text(HEADER), prefix=HEADER)
    with pytest.raises(NoCandidates, match="first token"):
        await best_of_n(task, Options(deadline_s=0.02), engine=engine, sandbox=None)


async def test_a_run_past_the_deadline_is_cancelled_and_stays_none() -> None:
    judge = Judge(hang=[CRASH.rstrip()])
    ranking = await rank([CRASH, BAD], judge, deadline_s=0.5)
    assert ranking.status == "deadline"
    assert judge.cancelled == [CRASH.rstrip()]
    assert ranking.candidates[0].outcome is None
    assert ranking.scores["tests"][0].reason == "not run"


async def test_a_failing_sandbox_degrades_openly_to_likelihood() -> None:
    ranking = await rank([Scripted(BAD, -0.1), Scripted(GOOD, -2.0)], Judge(LaunchFailed("no room")))
    assert (ranking.status, ranking.method) == ("degraded", "likelihood")
    assert "no room" in ranking.reason
    assert set(ranking.not_judged) == {"sandbox_error"}
    assert ranking.chosen[0].text == BAD.rstrip()


async def test_a_failing_sandbox_fails_the_request_that_wants_no_fallback() -> None:
    with pytest.raises(JudgeFailed, match="no room"):
        await rank([GOOD], Judge(LaunchFailed("no room")), on_error="fail")


async def test_a_full_sandbox_degrades_like_a_failing_one_and_is_told_apart() -> None:
    ranking = await rank([GOOD], Judge(SandboxBusy("10 runs wait already")))
    assert (ranking.status, ranking.not_judged) == ("degraded", ("sandbox_busy",))
    with pytest.raises(JudgeFailed, match="wait already") as failed:
        await rank([GOOD], Judge(SandboxBusy("10 runs wait already")), on_error="fail")
    assert failed.value.word == "sandbox_busy"


async def test_runs_take_turns_by_request() -> None:
    judge = Judge()
    await rank([GOOD, BAD], judge, early_exit="off")
    assert judge.requests == ["t", "t"]


async def test_a_suite_that_cannot_run_is_the_callers_error() -> None:
    with pytest.raises(InvalidSuite):
        await rank([GOOD], Judge(InvalidSuite("no test in it")))


async def test_examples_in_the_prompt_are_run_without_being_asked_for() -> None:
    ranking = await rank([BAD, GOOD], Judge(), prefix=SHOWN, suite=None)
    assert (ranking.method, ranking.chosen[0].text) == ("examples", GOOD.rstrip())


async def test_without_anything_to_run_the_likeliest_is_chosen_uncut() -> None:
    ranking = await rank(
        [Scripted("once upon\nA time", -1.0), Scripted("a\nb", -0.5)], None, prefix="Tell:", suite=None
    )
    assert (ranking.status, ranking.method) == ("complete", "likelihood")
    assert ranking.chosen[0].text == "a\nb"


async def test_off_samples_n_and_chooses_nothing() -> None:
    events: list[Event] = []
    engine = ScriptedEngine({HEADER: ["a", "b", "c"]})
    task = Task(id="t", prompt=Text(HEADER), prefix=HEADER)
    options = Options(method="off", n=2, num_candidates=9)
    ranking = await best_of_n(task, options, engine=engine, sandbox=None, on_event=events.append)
    assert (ranking.status, ranking.order, ranking.scores) == ("off", (0, 1), {})
    assert [choice.text for choice in ranking.chosen] == ["a", "b"]
    assert isinstance(events[0], Started)
    assert {type(event) for event in events[1:]} == {TextPiece, Finished}


async def test_one_candidate_is_greedy() -> None:
    ranking = await rank([GOOD, BAD], Judge(), num_candidates=3, include_greedy=True, early_exit="off")
    assert [candidate.greedy for candidate in ranking.candidates] == [True, False, False]
    assert ranking.candidates[0].text == GOOD.rstrip()


async def test_the_engines_refusal_reaches_the_caller() -> None:
    engine = ScriptedEngine({}, context_length=10)
    task = Task(id="t", prompt=Text("x" * 20), prefix="x" * 20)
    with pytest.raises(ContextTooLong):
        await best_of_n(task, Options(), engine=engine, sandbox=None)


async def test_cancelling_the_call_cancels_the_sandbox() -> None:
    judge = Judge(hang=[BAD.rstrip()])
    call = asyncio.create_task(rank([BAD], judge))
    while not judge.ran:  # noqa: ASYNC110 - the double says when, not how to be told
        await asyncio.sleep(0)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert judge.cancelled == [BAD.rstrip()]


async def test_more_choices_than_candidates_are_refused() -> None:
    with pytest.raises(InvalidRequest, match="num_candidates"):
        await rank([GOOD], Judge(), n=2, sampling=Sampling())
