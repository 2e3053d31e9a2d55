"""Tests that a model wrote: the prompt for them, and what is read of the answer."""

from dataclasses import replace

import pytest
from hypothesis import given as for_any
from hypothesis import strategies as st

from engine import Chat, Text
from reranker import Task
from reranker.trials import read_tests, without_examples, writing_prompt
from reranker.types import Trials
from sandbox import Call, CallSuite

PREFIX = '''import math


def half(x):
    """Half of x.

    Examples:
    >>> half(4)
    2
    half(6) == 3
    """
'''
STUB = '''import math


def half(x):
    """Half of x.
    """
'''
TASK = Task(id="t", prompt=Text(PREFIX), prefix=PREFIX)


def calls_of(trials: Trials | None) -> dict[str, int]:
    """What was read: `args -> expected` with its weight."""
    if trials is None:
        return {}
    assert isinstance(trials.suite, CallSuite)
    assert trials.suite.observed
    return {
        f"{c.args}{dict(c.kwargs) or ''} -> {c.expected!r}": w
        for c, w in zip(trials.suite.calls, trials.weights, strict=True)
    }


def test_the_prompt_is_codets() -> None:
    assert writing_prompt(TASK) == Text(STUB + "    pass\n\n# check the correctness of half\nassert ")
    bare = replace(TASK, prefix="def f(x):")
    assert writing_prompt(bare) == Text("def f(x):\n    pass\n\n# check the correctness of f\nassert ")


def test_a_chat_is_asked_in_words() -> None:
    task = replace(TASK, shape="chat", prefix="Write `half(x)`.\nhalf(4) == 2\n", entry_point="half")
    prompt = writing_prompt(task)
    assert isinstance(prompt, Chat)
    (message,) = prompt.messages
    assert message.role == "user"
    assert message.content.startswith("Write `half(x)`.\n\nDo not solve this.")
    assert "`assert half(...) == ...`" in message.content
    assert "half(4)" not in message.content


@pytest.mark.parametrize(
    "changes",
    [
        {"shape": "fim"},
        {"language": "js"},
        {"whole": True},
        {"prefix": "# nothing to call\n"},
        {"entry_point": "other"},
        {"prefix": "def f(x):\n    return (\n"},
    ],
)
def test_where_tests_cannot_be_asked_for(changes: dict[str, object]) -> None:
    assert writing_prompt(replace(TASK, **changes)) is None  # type: ignore[arg-type]


def test_examples_go_and_their_docstring_stays_whole() -> None:
    assert without_examples(PREFIX, "half") == STUB
    text = 'def f(x):\n    """Doubles.\n    >>> f(1)\n    2"""\n'
    assert without_examples(text, "f") == 'def f(x):\n    """Doubles.\n    """\n'
    text = 'def f(x):\n    """ f(1) => 2\n    Doubles, as f(n) = 2 n."""\n'
    assert without_examples(text, "f") == 'def f(x):\n    """\n    Doubles, as f(n) = 2 n."""\n'
    helper = "def g(x):\n    return f(2) == 4\n\n\ndef f(x):\n"
    assert without_examples(helper, "f") == helper


def test_a_continuation_is_read_up_to_where_it_leaves_its_subject() -> None:
    sample = (
        "half(4) == 2\nassert half(6) == 3, 'six'\nassert\n    half(\n        8) == 4\n\n# next\nassert half(0) == 0"
    )
    assert calls_of(read_tests(TASK, [sample])) == {"(4,) -> 2": 1, "(6,) -> 3": 1, "(8,) -> 4": 1}


def test_equal_tests_are_one_and_weigh_together() -> None:
    samples = ["half(4)==2", "half( 4 ) == (2)\nassert half(x=4) == 2", "half(4) == 2.0", "half(4) is None"]
    assert calls_of(read_tests(TASK, samples)) == {
        "(4,) -> 2": 2,
        "(){'x': 4} -> 2": 1,
        "(4,) -> 2.0": 1,
        "(4,) -> None": 1,
    }


@pytest.mark.parametrize(
    "sample",
    [
        "half(x) == 2",
        "half(...) == ...",
        "half(4) > 1",
        "half(4)",
        "other(4) == 2",
        "half(other(4)) == 2",
        "half(4) is 2",
        "half(half(4)) == 1",
        "[half(x) for x in [1]] == [0.5]",
        "half(4) == half(2)",
        "True, half(4) == 2",
        "half(",
        "",
        "half(10 ** 10 ** 10) == 1",
        "half({[]: 1}) == 1",
    ],
)
def test_what_is_no_call_with_a_literal_result_is_left_out(sample: str) -> None:
    assert read_tests(TASK, [sample]) is None


def test_a_fenced_reply_may_hold_comments_and_functions() -> None:
    reply = "Sure, `half`:\n```python\n# even\nassert half(4) == 2\n# odd\nassert half(3) == 1.5\n\n"
    reply += "def test():\n    assert half(0) == 0\n```\nassert half(9) == 9\n"
    assert calls_of(read_tests(TASK, [reply])) == {"(4,) -> 2": 1, "(3,) -> 1.5": 1, "(0,) -> 0": 1}
    assert calls_of(read_tests(TASK, ["assert half(4) == 2\n"])) == {"(4,) -> 2": 1}


def test_five_of_a_sample_and_the_likeliest_of_all() -> None:
    long = "\nassert ".join(f"half({i}) == 1" for i in range(9))
    assert len(calls_of(read_tests(TASK, [long]))) == 5
    samples = [long, "half(7) == 1", "half(7) == 1", "half(3) == 1"]
    assert calls_of(read_tests(TASK, samples, max_tests=2)) == {"(3,) -> 1": 2, "(7,) -> 1": 2}


def test_without_a_function_there_is_nothing_to_read() -> None:
    assert read_tests(replace(TASK, prefix="x"), ["half(4) == 2"]) is None
    assert read_tests(TASK, []) is None


PIECES = st.sampled_from(
    [
        "half",
        "(",
        ")",
        "[",
        "{",
        "==",
        " is ",
        "None",
        "4",
        "'",
        '"""',
        "\n",
        "assert ",
        ":",
        ",",
        "\\",
        "\x00",
        "```",
        "#",
    ]
)


@for_any(st.lists(st.text(max_size=30) | st.lists(PIECES, max_size=30).map("".join), max_size=4))
def test_no_text_raises(samples: list[str]) -> None:
    trials = read_tests(TASK, samples)
    if trials is not None:
        assert isinstance(trials.suite, CallSuite)
        assert len(trials.suite.calls) == len(trials.weights)
        assert all(call.function == "half" for call in trials.suite.calls)


@for_any(st.text(max_size=60) | st.lists(PIECES, max_size=30).map("".join))
def test_no_prompt_raises(text: str) -> None:
    task = replace(TASK, prefix=f"{PREFIX}{text}")
    without_examples(task.prefix, "half")
    prompt = writing_prompt(task)
    assert prompt is None or isinstance(prompt, Text)


@pytest.mark.parametrize(
    "text", ["half(" * 50_000, "(" * 100_000, "\n" * 100_000, "half(" + "[" * 3000, "\nassert" * 9999]
)
def test_hostile_text_is_no_test(text: str) -> None:
    assert read_tests(TASK, [text, text]) is None


def test_a_call_is_what_the_suite_of_a_request_would_make_of_it() -> None:
    trials = read_tests(TASK, ["half(-2) == -1"])
    assert trials is not None
    assert trials.suite == CallSuite((Call(function="half", args=(-2,), expected=-1),), visible=True, observed=True)
