"""What must hold of any log: order does not matter, no prompt is on both sides, equal programs stay one."""

import asyncio
from dataclasses import replace
from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from feedback import Exchange, Signal, prompt_hash
from tests.trainer.groups.records import COUNTS, candidate, chat, exchange, made, signal
from trainer.groups import split_of, task_of
from trainer.groups.gather import Gathered, Kept, distinct

TEXTS = [
    "    return x + 1",
    "    return (x + 1)",
    "    return x + 1  # why",
    "    return x",
    "    return (",
    "    pass",
]
PROMPTS: list[Any] = ["def inc(x):\n", "def f(x):\n    # AKIAIOSFODNN7EXAMPLE\n", chat("Write inc."), "def g():\n"]
KINDS: list[tuple[Any, Any]] = [
    ("accept", None),
    ("reject", None),
    ("edit", "    return x + 1"),
    ("tests", {"passed": 1, "failed": 1}),
]


@st.composite
def any_logged(draw: st.DrawFn, number: int) -> tuple[Exchange, tuple[Signal, ...]]:
    verdicts = st.sampled_from(sorted(COUNTS))
    judged = draw(st.booleans())
    prompt = draw(st.sampled_from([PROMPTS[0], *PROMPTS[2:]] if judged else PROMPTS))
    texts = draw(st.lists(st.sampled_from(TEXTS), min_size=1, max_size=4))
    candidates = [candidate(text, draw(verdicts) if judged else None) for text in texts]
    asked = exchange(*candidates, number=number, prompt=prompt, **({} if judged else {"suite": None}))
    kinds = [kind for kind in KINDS if kind[0] != "edit" or not judged]
    said = draw(st.lists(st.sampled_from(kinds), max_size=2))
    asked = replace(asked, key_id=draw(st.sampled_from([None, "a", "b"])), method="off")
    return asked, tuple(signal(asked, kind, value) for kind, value in said)


@st.composite
def any_log(draw: st.DrawFn) -> list[tuple[Exchange, tuple[Signal, ...]]]:
    return [draw(any_logged(number)) for number in range(draw(st.integers(0, 8)))]


@settings(max_examples=60, deadline=None)
@given(any_log(), st.integers(0, 2**16), st.sampled_from([1, None]))
def test_the_order_of_the_log_does_not_matter(log: list[Any], seed: int, share: int | None) -> None:
    groups, _ = asyncio.run(made(*log, max_groups_per_key=share, held_out_share=0.5))
    Random(seed).shuffle(log)
    assert asyncio.run(made(*log, max_groups_per_key=share, held_out_share=0.5))[0] == groups


@settings(max_examples=60, deadline=None)
@given(any_log())
def test_what_a_group_is(log: list[Any]) -> None:
    groups, tally = asyncio.run(made(*log, held_out_share=0.5))
    assert tally.groups == len(groups)
    sides: dict[str, set[str]] = {}
    for group in groups:
        assert group.prompt_hash == prompt_hash(group.prompt)
        sides.setdefault(group.prompt_hash, set()).add(group.split)
        assert group.split == split_of(group.prompt_hash, 0.5)
        values = [response.score for response in group.responses]
        assert None not in values
        assert values == sorted(values, reverse=True)  # type: ignore[type-var]
        assert len(set(values)) > 1
        assert "AKIA" not in str(group)
    assert all(len(each) == 1 for each in sides.values())


@settings(max_examples=60, deadline=None)
@given(any_log())
def test_equal_programs_stay_one(log: list[Any]) -> None:
    groups, _ = asyncio.run(made(*log, contrast=False))
    for group in groups:
        again = Gathered(_draft(group))
        for response in group.responses:
            again.put(Kept.of(response))
        kept = asyncio.run(distinct(again, replace(task_of(group), suite=None)))
        assert sorted(each.response.text for each in kept) == sorted(response.text for response in group.responses)
        assert sum(each.count for each in kept) == sum(response.count for response in group.responses)


def _draft(group: Any) -> Any:
    from trainer.groups.draft import Draft

    parts = {name: getattr(group, name) for name in ("prompt", "prompt_hash", "task", "suite", "key_id")}
    return Draft(exchange_id="e", at="", responses=(), originals=(), **parts)
