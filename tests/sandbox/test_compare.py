"""When two outputs are the same, and what is said where they are not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sandbox.compare import same_output

texts = st.text(st.sampled_from("ab \t\r\n\u00a0\f"), max_size=20)


@pytest.mark.parametrize(
    ("got", "expected"),
    [
        ("", ""),
        ("1\n2\n", "1\n2"),
        ("1\r\n2\r", "1\n2\n\n\n"),
        ("1 \t\n2\f\v", "1\n2"),
        ("\n\n \n", ""),
        ("\n1", "\n1"),
        ("a\u2028b\x1cc", "a\u2028b\x1cc"),
        ("\ud800", "\ud800"),
    ],
)
def test_same(got: str, expected: str) -> None:
    assert same_output(got, expected) is None
    assert same_output(expected, got) is None


@pytest.mark.parametrize(
    ("got", "expected", "message"),
    [
        ("1\n2", "1\n3", "line 2: got '2', expected '3'"),
        ("1", "1\n2", "line 2: got no such line, expected '2'"),
        ("1\n2\n3", "1", "line 2: got '2', expected no such line"),
        ("", "x", "line 1: got no such line, expected 'x'"),
        (" 1", "1", "line 1: got ' 1', expected '1'"),
        ("a  b", "a b", "line 1: got 'a  b', expected 'a b'"),
        ("\n1", "1", "line 1: got '', expected '1'"),
        ("1\n\n2", "1\n2", "line 2: got '', expected '2'"),
        ("1\u00a0", "1", "line 1: got '1\\xa0', expected '1'"),
        ("1\u20282", "1\n2", "line 1: got '1\\u20282', expected '1'"),
        ("1.0", "1", "line 1: got '1.0', expected '1'"),
        ("Yes", "YES", "line 1: got 'Yes', expected 'YES'"),
        ("é", "e\u0301", "line 1: got 'é', expected 'e\u0301'"),
        ("x" * 100, "x" * 99 + "y", f"line 1: got …{'x' * 31!r}, expected …{'x' * 30 + 'y'!r}"),
        ("y" + "x" * 99, "x" * 100, f"line 1: got {'y' + 'x' * 59!r}…, expected {'x' * 60!r}…"),
        ("x" * 50, "x" * 49, f"line 1: got …{'x' * 31!r}, expected …{'x' * 30!r}"),
    ],
)
def test_the_first_difference_is_named(got: str, expected: str, message: str) -> None:
    assert same_output(got, expected) == message


def test_a_message_is_short() -> None:
    assert len(same_output("\ud800" * 10**6, "\x00" * 10**6) or "") < 1000


@given(texts, texts)
def test_agrees_with_the_rule_as_stated(got: str, expected: str) -> None:
    def plain(text: str) -> str:
        lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
        return "\n".join(line.rstrip(" \t\f\v") for line in lines).rstrip("\n")

    assert (same_output(got, expected) is None) is (plain(got) == plain(expected))


@given(texts, st.text(min_size=1, max_size=3).filter(lambda text: text.strip(" \t\f\v\r\n")))
def test_no_beginning_is_enough(got: str, more: str) -> None:
    assert same_output(got, got + more) is not None
    assert same_output(got + more, got) is not None
