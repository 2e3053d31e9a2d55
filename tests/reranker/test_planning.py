"""Plans before code: kept where their walk through the examples comes to what is expected."""

import time
from typing import Any

import pytest

from engine import Chat, Message, ScriptedEngine, Text
from reranker import InvalidRequest, Options, Ranking, Task, best_of_n
from reranker.planning import holds, planning_prompt, walked_calls, with_plan
from sandbox import AssertSuite, Call, CallSuite, LocalSandbox, Suite

ASK = "Write f that adds one.\n>>> f(1)\n2\n>>> f(5)\n6"
TASK = Task(id="t", prompt=Chat((Message("user", ASK),)), shape="chat", prefix=ASK)
CALLS = (Call(function="f", args=(1,), expected=2), Call(function="f", args=(5,), expected=6))
GOOD_PLAN = "1. Take x.\n2. Add 1.\n\nf(1): 1 + 1\nRESULT 1: 2\nf(5): 5 + 1\n**RESULT 2: `6`**"
BAD_PLAN = "1. Double x.\nRESULT 1: 2\nRESULT 2: 10"
RIGHT, WRONG = "def f(x):\n    return x + 1", "def f(x):\n    return 2 * x"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (GOOD_PLAN, True),
        (BAD_PLAN, False),
        ("RESULT 1: 2", False),
        ("RESULT 1: 2.0\nRESULT 2: 6", False),
        ("RESULT 1: True\nRESULT 2: 6", False),
        ("RESULT 1: 2\nRESULT 2: __import__('os')", False),
        ("result 1 = 2\n- RESULT 2: 6", True),
        ("", False),
    ],
)
def test_a_plan_holds_where_every_walk_comes_to_its_result(text: str, expected: bool) -> None:
    assert holds(text, CALLS) is expected


def test_nothing_holds_for_no_examples_and_floats_have_a_tolerance() -> None:
    assert not holds(GOOD_PLAN, ())
    assert holds("RESULT 1: 0.33333334", (Call(function="f", args=(3,), expected=1 / 3, tolerance=1e-6),))
    assert not holds("RESULT 1: 0.3", (Call(function="f", args=(3,), expected=1 / 3, tolerance=1e-6),))


@pytest.mark.parametrize(
    ("task", "suite", "number"),
    [
        (TASK, CallSuite(CALLS), 2),
        (TASK, CallSuite(CALLS * 4), 4),
        (TASK, AssertSuite("assert f(1) == 2"), 1),
        (TASK, AssertSuite("assert f(1) > 2"), 0),
        (TASK, CallSuite(CALLS, visible=False), 0),
        (TASK, None, 0),
        (Task(id="t", prompt=Text("def f(x):\n")), CallSuite(CALLS), 0),
    ],
)
def test_only_visible_calls_are_walked_through(task: Task, suite: Suite | None, number: int) -> None:
    assert len(walked_calls(task, suite)) == number


def test_the_model_is_never_told_the_results_beyond_what_it_was_told() -> None:
    asked = planning_prompt(TASK, CALLS).messages[-1].content
    assert asked.startswith(ASK)
    assert asked.endswith("1. f(1)\n2. f(5)")
    assert [message.role for message in with_plan(TASK, GOOD_PLAN).messages] == ["user", "assistant", "user"]


async def plan(plans: list[str], **options: Any) -> tuple[Ranking, list[str]]:
    asked: list[str] = []

    def script(prompt: str) -> list[str]:
        asked.append(prompt)
        if "Do not write code yet" in prompt:
            return plans
        return [RIGHT] if "The plan is right" in prompt else [WRONG]

    chosen: dict[str, Any] = {"num_candidates": 4, "include_greedy": False, "plans": len(plans)} | options
    async with LocalSandbox() as sandbox:
        ranking = await best_of_n(TASK, Options(**chosen), engine=ScriptedEngine(script), sandbox=sandbox)
    return ranking, asked


@pytest.mark.isolation
async def test_code_is_written_from_the_plans_that_hold_and_without() -> None:
    ranking, asked = await plan([BAD_PLAN, GOOD_PLAN], early_exit="off")
    assert (ranking.status, ranking.num_plans) == ("complete", 1)
    assert ranking.chosen[0].text == RIGHT
    assert [c.text for c in ranking.candidates] == [RIGHT, RIGHT, WRONG, WRONG]
    assert ranking.side_tokens == len(BAD_PLAN) + len(GOOD_PLAN) + 2
    assert sum("Do not write code yet" in prompt for prompt in set(asked)) == 1


@pytest.mark.isolation
async def test_without_a_plan_that_holds_the_code_comes_as_ever() -> None:
    ranking, _ = await plan([BAD_PLAN])
    assert (ranking.num_plans, [c.text for c in ranking.candidates]) == (0, [WRONG] * 4)


async def test_plans_are_for_chats() -> None:
    task = Task(id="t", prompt=Text("def f(x):\n"), prefix="def f(x):\n")
    with pytest.raises(InvalidRequest, match="chats"):
        await best_of_n(task, Options(plans=1), engine=ScriptedEngine({}), sandbox=None)


def test_what_a_model_writes_is_read_in_little_time() -> None:
    """A quadratic pattern took seconds for each of these."""
    texts = ["RESULT 1: a" + " " * 19_900 + "x", "RESULT" + " " * 19_990, ("*" * 99 + "\n") * 199, " " * 19_999]
    began = time.process_time()
    assert not any(holds(text, CALLS) for text in texts * 5)
    assert time.process_time() - began < 5


async def test_plans_without_anything_to_check_them_by() -> None:
    bare = Task(id="t", prompt=Chat((Message("user", "Write f."),)), shape="chat", prefix="Write f.")
    engine = ScriptedEngine({"Write f.": [RIGHT]})
    ranking = await best_of_n(bare, Options(plans=2, num_candidates=1), engine=engine, sandbox=None)
    assert ranking.num_plans == 0
    with pytest.raises(InvalidRequest, match="examples are off"):
        await best_of_n(TASK, Options(plans=2, examples="off"), engine=engine, sandbox=None)
