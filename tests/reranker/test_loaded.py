"""Scorers that hold a model of their own: they decide where they are loaded, and are done without where they fail."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import pytest

from engine import EngineFailed, Sampling, Scripted, ScriptedEngine, Text
from reranker import Candidate, JudgeFailed, Options, Ranking, Score, Scorer, Task, UnknownMethod, best_of_n
from reranker.base import Evidence
from sandbox import AssertSuite, Outcome, Program, ScriptedSandbox, Status, TestOutcome

HEADER = "def f(x):\n"
SHOWN = 'def f(x):\n    """\n    >>> f(1)\n    2\n    """\n'
A, B, C = "    return 1 + x", "    return 2", "    return x"


class Longest:
    """Likes long texts; notes what it was shown."""

    needs: ClassVar[frozenset[Evidence]] = frozenset()

    def __init__(self, error: str = "") -> None:
        self.seen: list[Candidate] = []
        self._error = error

    async def score(self, task: Task, candidates: Sequence[Candidate]) -> list[Score]:
        if self._error:
            raise EngineFailed(self._error)
        self.seen += candidates
        return [Score(float(len(candidate.text))) for candidate in candidates]


def all_pass(*_: object) -> Outcome:
    return Outcome(status=Status.PASSED, tests=(TestOutcome(index=0, status=Status.PASSED),))


async def rank(loaded: Mapping[str, Scorer], *, header: str = HEADER, suite: Any = None, **options: Any) -> Ranking:
    engine = ScriptedEngine({header: [C, Scripted(B, -0.1), A]})
    chosen: dict[str, Any] = {"num_candidates": 3, "include_greedy": False, "early_exit": "off"} | options
    task = Task(id="t", prompt=Text(header), prefix=header, suite=suite)
    return await best_of_n(task, Options(**chosen), engine=engine, sandbox=ScriptedSandbox(all_pass), loaded=loaded)


async def test_auto_asks_the_verifier_among_equals_where_something_was_run() -> None:
    assert (await rank({"verifier": Longest()})).method == "likelihood"
    ranking = await rank({"verifier": Longest()}, header=SHOWN)
    assert ranking.methods == ("examples", "verifier")
    assert ranking.chosen[0].text == A
    assert (await rank({})).method == "likelihood"


async def test_by_name_it_decides_and_sees_what_the_examples_came_to() -> None:
    verifier = Longest()
    ranking = await rank({"verifier": verifier}, header=SHOWN, method="verifier", early_exit="first_pass")
    assert (ranking.status, ranking.methods, ranking.chosen[0].text) == ("complete", ("verifier",), A)
    assert all(candidate.outcome is not None for candidate in verifier.seen)
    with pytest.raises(UnknownMethod, match="verifier"):
        await rank({}, method="verifier")


async def test_it_is_not_asked_what_is_known_already() -> None:
    verifier = Longest("must not be asked")
    suite = AssertSuite("assert f(1) == 2")

    def one_passes(program: Program, *_: object) -> Outcome:
        status = Status.PASSED if program.completion == B else Status.WRONG_ANSWER
        return Outcome(status=status, tests=(TestOutcome(index=0, status=status),))

    engine = ScriptedEngine({HEADER: [C, B, A]})
    task = Task(id="t", prompt=Text(HEADER), prefix=HEADER, suite=suite)
    options = Options(num_candidates=3, include_greedy=False, early_exit="off")
    sandbox = ScriptedSandbox(one_passes)
    ranking = await best_of_n(task, options, engine=engine, sandbox=sandbox, loaded={"verifier": verifier})
    assert (ranking.status, ranking.methods, ranking.chosen[0].text) == ("complete", ("tests",), B)
    both = await best_of_n(task, replace(options, n=2), engine=engine, sandbox=sandbox, loaded={"verifier": Longest()})
    assert (both.methods, [c.text for c in both.chosen]) == (("tests", "verifier"), [B, A])


async def test_one_that_fails_is_done_without() -> None:
    ranking = await rank({"verifier": Longest("out of memory")}, method="verifier")
    assert (ranking.status, ranking.method, ranking.chosen[0].text) == ("degraded", "likelihood", B)
    assert "out of memory" in ranking.reason
    assert [score.value for score in ranking.scores["verifier"]] == [None] * 3
    ranking = await rank({"verifier": Longest("out of memory")}, header=SHOWN)
    assert (ranking.status, ranking.methods) == ("degraded", ("examples",))
    with pytest.raises(JudgeFailed, match="out of memory"):
        await rank({"verifier": Longest("out of memory")}, header=SHOWN, on_error="fail")


async def test_where_time_is_short_what_looks_right_is_run_first() -> None:
    sandbox = ScriptedSandbox(all_pass)
    engine = ScriptedEngine({HEADER: [C + "\n" * 3, B + "\n" * 3, A]})  # they are complete together
    task = Task(id="t", prompt=Text(HEADER), prefix=HEADER, suite=AssertSuite("assert f(1) == 2"))
    for deadline_s, first in ((60.0, A), (None, C)):
        options = Options(num_candidates=3, include_greedy=False, early_exit="off", deadline_s=deadline_s)
        discriminator = Longest()
        sandbox.runs.clear()
        await best_of_n(task, options, engine=engine, sandbox=sandbox, loaded={"discriminator": discriminator})
        assert sandbox.runs[0][0].completion == first
        assert len(discriminator.seen) == (3 if deadline_s else 0)


async def test_a_discriminator_that_fails_leaves_the_order_as_it_is() -> None:
    suite = AssertSuite("assert f(1) == 2")
    ranking = await rank({"discriminator": Longest("broken")}, suite=suite, deadline_s=60)
    assert (ranking.status, ranking.methods, ranking.num_passing) == ("degraded", ("tests",), 3)


async def test_with_a_discriminator_equal_programs_are_still_one() -> None:
    """The greedy one and the others come from two requests at once."""
    sandbox = ScriptedSandbox(all_pass)

    class Slow(Longest):
        async def score(self, task: Task, candidates: Sequence[Candidate]) -> list[Score]:
            await asyncio.sleep(0.02)
            return await super().score(task, candidates)

    task = Task(id="t", prompt=Text(HEADER), prefix=HEADER, suite=AssertSuite("assert f(1) == 2"))
    options = Options(num_candidates=8, early_exit="off", deadline_s=60, sampling=Sampling(temperature=0.8))
    engine = ScriptedEngine({HEADER: [A]})
    ranking = await best_of_n(task, options, engine=engine, sandbox=sandbox, loaded={"discriminator": Slow()})
    assert (ranking.num_unique, len(sandbox.runs)) == (1, 1)
