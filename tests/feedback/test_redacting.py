"""Records lose the secrets in them before they are kept, and say what they had."""

from dataclasses import replace
from typing import Any

import pytest

from feedback import (
    Exchange,
    InMemoryStore,
    RedactingStore,
    SqlStore,
    prompt_hash,
    suite_to_data,
    task_of,
    to_line,
    without_secrets,
)
from feedback.redacting import LARGE
from feedback.verify import exchange_problems
from sandbox import AssertSuite
from tests.feedback.records import exchange, signal

SECRET = "AKIAIOSFODNN7EXAMPLE"


def of(asked: Exchange, **changes: Any) -> Exchange:
    """With a suite, and changes to its first candidate."""
    first = replace(asked.candidates[0], **changes)
    suite = suite_to_data(AssertSuite("assert f() == 1"))
    return replace(asked, suite=suite, candidates=(first, *asked.candidates[1:]))


def test_what_holds_no_secret_is_the_same_object() -> None:
    for asked in (of(exchange(1)), of(exchange(1), text="token = tokens[0]", raw_text="token = tokens[0]")):
        assert without_secrets(asked) is asked


def test_every_place_is_looked_at() -> None:
    said = {"status": "passed", "tests": [{"value": f"'{SECRET}'", "name": "call 0"}], "message": SECRET}
    asked = of(exchange(1), text=f"return '{SECRET}'", raw_text=f"return '{SECRET}'\n", outcome=said, trial=said)
    asked = replace(
        asked,
        prompt={"kind": "chat", "messages": [{"role": "user", "content": f"my key is {SECRET}"}]},
        task={**asked.task, "prefix": SECRET, "suffix": SECRET},
        options={**asked.options, "sampling": {"stop": [SECRET], "temperature": 0.5}},
        suite=suite_to_data(AssertSuite(f"assert f() == '{SECRET}'")),
        trials={**suite_to_data(AssertSuite(SECRET)), "weights": [1]},
        reason=SECRET,
        session_id=SECRET,
    )
    clean = without_secrets(asked)
    assert SECRET not in to_line(clean, ())
    assert clean.options["redacted"] == {"prompt": True, "suite": True, "candidates": [0]}
    assert clean.candidates[0].text == "return 'REDACTED'"
    assert clean.prompt_hash == prompt_hash(clean.prompt) != asked.prompt_hash
    assert clean.suite is not None
    assert asked.suite is not None
    assert (clean.suite["body"], clean.suite["hash"]) == (None, asked.suite["hash"])
    assert list(exchange_problems(clean, ())) == []
    assert without_secrets(clean) is clean
    assert task_of(clean).suite is None


def test_what_had_none_keeps_its_hash_and_its_suite() -> None:
    asked = of(exchange(1), raw_text=f"return 1\n# {SECRET}")
    clean = without_secrets(asked)
    assert clean.options["redacted"] == {"prompt": False, "suite": False, "candidates": [0]}
    assert (clean.prompt_hash, clean.suite, clean.prompt) == (asked.prompt_hash, asked.suite, asked.prompt)
    assert list(exchange_problems(clean, ())) == []


@pytest.mark.parametrize("length", [10, LARGE])
async def test_the_store_behind_is_given_nothing_else(length: int) -> None:
    behind = InMemoryStore()
    store = RedactingStore(behind)
    asked = of(exchange(1), text=f"x = '{SECRET}'" + " " * length)
    await store.record(asked)
    await store.signal(signal(asked, "edit", f"y = '{SECRET}'", partial=SECRET, tags={"editor": SECRET}))
    await store.signals([signal(asked, "rating", 4), signal(asked, "tests", {"passed": 1, "failed": 0})])
    kept, said = await behind.get(asked.id)
    assert SECRET not in to_line(kept, said)
    assert [one.value for one in said] == ["y = 'REDACTED'", 4, {"passed": 1, "failed": 0}]
    assert await store.get(asked.id) == (kept, said)
    assert store.waiting == 0
    assert await store.outcomes(asked.created_at) == await behind.outcomes(asked.created_at)
    await store.aclose()


async def test_what_is_no_plain_data_is_still_the_stores_to_refuse(tmp_path: Any) -> None:
    from feedback import InvalidExchange

    store = RedactingStore(SqlStore.open(tmp_path / "log.db"))
    with pytest.raises(InvalidExchange):
        await store.record(replace(exchange(1), options={"x": object()}))
    await store.aclose()
