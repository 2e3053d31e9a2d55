"""Text, JSON, literals and suites come back as they went in."""

import ast
import json
import math
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from engine import Chat, Fim, Message, Prompt, Text, TokenIds
from feedback import (
    InvalidExchange,
    prompt_from_data,
    prompt_hash,
    prompt_to_data,
    suite_from_data,
    suite_to_data,
)
from feedback.lossless import MARK, dumps, escape, loads, unescape
from sandbox import AssertSuite, Call, CallSuite, read_literal, suite_hash, write_literal
from tests.feedback.strategies import any_json, any_text

hashable = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.complex_numbers() | any_text | st.binary(max_size=5),
    lambda inner: st.tuples(inner, inner) | st.tuples(inner) | st.frozensets(inner, max_size=3),
    max_leaves=5,
)
any_literal = st.recursive(
    hashable,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner, inner)
        | st.sets(hashable, max_size=3)
        | st.dictionaries(hashable, inner, max_size=3)
    ),
    max_leaves=8,
)


@given(any_text)
@example(MARK + "0000")
def test_escaped_text_is_safe_and_comes_back(text: str) -> None:
    written = escape(text)
    assert "\0" not in written
    written.encode()
    assert unescape(written) == text


def test_ordinary_text_is_unchanged() -> None:
    ordinary = "def f(x):\n\treturn '\\x00 \\ud800' + \"\x1b[0m 😀\"\n"
    assert escape(ordinary) == ordinary


@given(any_json)
@example("\ud83d\ude00")
@example(MARK + "nan")
@example({MARK + "inf": [math.inf, -math.inf, "NaN", "Infinity"]})
def test_json_comes_back(data: Any) -> None:
    written = dumps(data)
    assert loads(written) == data
    assert r"\u0000" not in written.replace(r"\\", "")
    json.loads(written, parse_constant=pytest.fail)


def test_json_keeps_what_is_no_number() -> None:
    assert math.isnan(loads(dumps(math.nan)))


@pytest.mark.parametrize("data", [{1, 2}, object(), b"bytes"])
def test_only_plain_data_is_json(data: Any) -> None:
    with pytest.raises(TypeError):
        dumps([data])


@given(any_literal)
@example(frozenset())
@example(10**5000)
@example(complex(-0.0, math.nan))
def test_literals_come_back(value: Any) -> None:
    again = read_literal(write_literal(value))
    assert type(again) is type(value)
    assert write_literal(again) == write_literal(value)
    if "nan" not in write_literal(value):
        assert again == value


@pytest.mark.parametrize("value", [0, -1.5, "a\n", b"\0", (1,), [1, {"a": None}], {1: (2, 3)}])
def test_common_values_are_written_as_python_writes_them(value: Any) -> None:
    assert write_literal(value) == repr(value)
    assert ast.literal_eval(write_literal(value)) == value


def nested(depth: int) -> Any:
    value: Any = 0
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize("value", [object(), range(3), [print], nested(250), nested(100_000)], ids=type)
def test_other_values_are_refused(value: Any) -> None:
    with pytest.raises(ValueError, match=r"plain data|too deep"):
        write_literal(value)


@pytest.mark.parametrize(
    "text", ["", "f(1)", "x", "1 +", "{**{}}", "[i for i in 'a']", "float(x=1)", "{[]: 1}", "\0", "-'a'"]
)
def test_only_literals_are_read(text: str) -> None:
    with pytest.raises(ValueError, match="literal"):
        read_literal(text)


def test_sets_are_written_alike_in_every_process() -> None:
    code = "from sandbox import write_literal; print(write_literal({'a', 'b', 'c', frozenset({'d', 'e'})}))"
    runs = {
        subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        ).stdout
        for seed in "01"
    }
    assert len(runs) == 1


any_call = st.builds(
    Call,
    function=st.just("f"),
    args=st.lists(any_literal, max_size=2).map(tuple),
    kwargs=st.lists(st.tuples(st.just("k"), any_literal), max_size=1).map(tuple),
    expected=any_literal,
    tolerance=st.none() | st.just(1e-6),
)
any_suite = st.builds(AssertSuite, code=any_text, visible=st.booleans()) | st.builds(
    CallSuite, calls=st.lists(any_call, max_size=2).map(tuple), visible=st.booleans()
)


@given(any_suite)
def test_suites_come_back_through_json(suite: AssertSuite | CallSuite) -> None:
    data = suite_to_data(suite)
    assert data["hash"] == suite_hash(suite)
    again = suite_from_data(loads(dumps(data)))
    assert suite_to_data(again)["body"] == data["body"]
    if "nan" not in str(data["body"]):
        assert again == suite


def test_a_suite_of_other_values_is_refused_by_name() -> None:
    suite = CallSuite((Call(function="f", expected=1), Call(function="f", expected=print)))
    with pytest.raises(InvalidExchange, match=r"suite\.calls\[1\]: builtin_function_or_method"):
        suite_to_data(suite)


@pytest.mark.parametrize(
    "data", [{}, {"form": "asserts"}, {"form": "stdio"}, {"form": "calls", "body": [{}], "visible": True}]
)
def test_what_is_no_suite_is_refused(data: dict[str, Any]) -> None:
    with pytest.raises(InvalidExchange, match="suite"):
        suite_from_data(data)


any_prompt = (
    st.builds(Text, any_text)
    | st.builds(TokenIds, st.lists(st.integers(0, 99), max_size=3).map(tuple))
    | st.builds(Chat, st.lists(st.builds(Message, any_text, any_text), max_size=2).map(tuple))
    | st.builds(Fim, any_text, any_text)
)


@given(any_prompt, any_prompt)
def test_prompts_come_back_and_hash_by_content(one: Prompt, other: Prompt) -> None:
    data = prompt_to_data(one)
    assert prompt_from_data(loads(dumps(data))) == one
    assert prompt_hash(data).startswith("b2:")
    assert (prompt_hash(data) == prompt_hash(prompt_to_data(other))) == (one == other)


def test_the_hash_of_a_prompt_is_part_of_the_format() -> None:
    assert prompt_hash({"text": "def f():\n", "kind": "text"}) == prompt_hash({"kind": "text", "text": "def f():\n"})
    assert prompt_hash({"kind": "text", "text": "é\ud800"}) == "b2:4c09bdea5cd15e763073ce4351c166fa"


@pytest.mark.parametrize("data", [{}, {"kind": "audio"}, {"kind": "text"}, {"kind": "chat", "messages": [1]}])
def test_what_is_no_prompt_is_refused(data: dict[str, Any]) -> None:
    with pytest.raises(InvalidExchange, match="prompt"):
        prompt_from_data(data)
