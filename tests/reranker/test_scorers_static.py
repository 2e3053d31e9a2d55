"""What reading a program says of it, and how likely the model held it to be."""

from dataclasses import replace

import pytest
from hypothesis import given as for_any
from hypothesis import strategies as st

from engine import TokenLogprob
from reranker import METHODS, Candidate, Task, order
from reranker.scorers.static import MAX_PENALTY, NO_ENTRY_POINT, NO_PARSE
from sandbox import MAX_SOURCE_BYTES
from tests.reranker.scored import PROMPT, given, made, scored, values_of


def written(*texts: str) -> list[Candidate]:
    return [replace(c, text=text, raw_text=text) for c, text in zip(made(*[None] * len(texts)), texts, strict=True)]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("    return x\n", 0.0),
        ("    import os\n    return x\n", -0.1),
        ("    y = 1\n    return x\n", -1.0),
        ("    return y\n", -10.0),
        ("    import os\n    return y + z\n", -20.1),
        ("    return y" + " + y" * 99, -MAX_PENALTY),
        ("    return (\n", NO_PARSE),
        ("", NO_PARSE),
    ],
)
def test_remarks_cost_and_undefined_names_most(text: str, value: float) -> None:
    assert values_of("static", given(), written(text)) == [pytest.approx(value)]


def test_an_answer_without_the_entry_point_comes_before_one_that_does_not_parse() -> None:
    task = replace(given(prefix="# write f\n"), entry_point="f")
    texts = ("def g(x):\n    return x\n", "def f(x):\n    return y\n", "def f(x:\n")
    assert values_of("static", task, written(*texts)) == [NO_ENTRY_POINT, -10.0, NO_PARSE]


def test_a_fenced_reply_is_read_inside_its_fence() -> None:
    task = replace(given(prefix="Write f."), shape="chat", entry_point="f")
    assert values_of("static", task, written("Here:\n```python\ndef f(x):\n    return x\n```\n")) == [0.0]


def test_what_cannot_be_read_has_no_score_and_a_reason() -> None:
    (score,) = scored("static", replace(given(), language="js"), written("return x"))
    assert (score.value, score.reason) == (None, "cannot read js")
    (score,) = scored("static", given(), written("    return 'é" + "é" * (MAX_SOURCE_BYTES // 2) + "'"))
    assert (score.value, score.reason) == (None, "too large to read")
    (score,) = scored("static", given(), written("    return x" + ".y" * 3000))
    assert score.value in (None, NO_PARSE)


@for_any(st.text(max_size=80))
def test_any_text_has_a_score(text: str) -> None:
    (score,) = scored("static", given(), written(text))
    assert score.value is not None
    assert score.value <= 0


def test_likelihood_decides_among_the_equal() -> None:
    candidates = [
        replace(c, tokens=(TokenLogprob(1, "x", logprob),))
        for c, logprob in zip(
            written("    return x\n", "    return -x\n", "    return y\n"), (-2, -1, -0.1), strict=True
        )
    ]
    assert order(candidates, scored("static", given(), candidates)) == (1, 0, 2)


def test_likelihood_is_a_mean_and_likelihood_sum_a_sum() -> None:
    long = replace(made(None)[0], tokens=(TokenLogprob(1, "x", -1.0), TokenLogprob(2, "y", -2.0)))
    short = replace(long, index=1, tokens=(TokenLogprob(1, "x", -2.0),))
    unknown = replace(long, index=2, tokens=())
    candidates = [long, short, unknown]
    assert values_of("likelihood", given(), candidates) == [-1.5, -2.0, None]
    assert values_of("likelihood_sum", given(), candidates) == [-3.0, -2.0, None]


@pytest.mark.parametrize("method", METHODS)
def test_every_scorer_says_what_it_needs_and_lives_without(method: str) -> None:
    scorer = METHODS[method]()
    assert scorer.needs <= {"suite", "tests", "inputs"}
    candidates = written("    return x\n")
    found = scored(method, given(), candidates)
    assert len(found) == 1
    if scorer.needs:
        assert found[0].value is None
        assert found[0].reason
    assert scored(method, given(), []) == []


def test_the_prompt_is_part_of_what_is_read() -> None:
    task = Task(id="t", prompt=given().prompt, prefix="import math\n\n\n" + PROMPT)
    assert values_of("static", task, written("    return math.pi\n")) == [0.0]
