"""What every store of the log must do. Subclass `StoreContract` in a test file and give it a `store` fixture.

class TestInMemory(StoreContract):
    @pytest.fixture
    async def store(self) -> AsyncIterator[Store]:
        store = InMemoryStore()
        yield store
        await store.aclose()
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any, Protocol

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from feedback import (
    AnswerLog,
    ContestLog,
    Exchange,
    FeedbackLog,
    FeedbackStore,
    ForeignExchange,
    InvalidExchange,
    InvalidSignal,
    Receipt,
    Signal,
    SqlStore,
    StoreFailed,
    UnknownChoice,
    UnknownExchange,
    to_line,
)
from tests.feedback.records import BEGIN, exchange, signal
from tests.feedback.strategies import any_exchange, any_signal

VALUES: list[tuple[Any, Any]] = [
    ("accept", None),
    ("accept", True),
    ("reject", False),
    ("edit", "    return 2\0\ud800\n"),
    ("comment", ""),
    ("demonstration", "def f(): ..."),
    ("rating", 4),
    ("rating", -0.5),
    ("tests", {"passed": 3, "failed": 0}),
]
MISFITS: list[tuple[Any, Any]] = [
    ("accept", 1),
    ("accept", "yes"),
    ("reject", 0.0),
    ("edit", None),
    ("edit", 3),
    ("comment", ["text"]),
    ("demonstration", {}),
    ("rating", None),
    ("rating", True),
    ("rating", "5"),
    ("rating", float("nan")),
    ("rating", float("inf")),
    ("rating", 10**400),
    ("tests", {"passed": 3}),
    ("tests", {"passed": -1, "failed": 0}),
    ("tests", {"passed": True, "failed": 0}),
    ("tests", {"passed": 1.5, "failed": 0}),
    ("tests", {"passed": 1, "failed": 0, "skipped": 1}),
    ("tests", 2**31),
    ("applause", None),
]


class Store(FeedbackStore, FeedbackLog, ContestLog, AnswerLog, Protocol):
    """All ports, over the same records."""


class StoreContract:
    """The laws of the ports, one test each; a subclass brings the `store` fixture."""

    async def test_what_is_recorded_is_given_back(self, store: Store) -> None:
        asked = exchange(1)
        await store.record(asked)
        assert await store.get(asked.id) == (asked, ())

    async def test_an_exchange_may_have_no_candidates(self, store: Store) -> None:
        asked = replace(exchange(1), candidates=())
        await store.record(asked)
        assert await store.get(asked.id) == (asked, ())

    async def test_an_id_is_recorded_once(self, store: Store) -> None:
        asked = exchange(1)
        await store.record(asked)
        with pytest.raises(StoreFailed):
            await store.record(replace(asked, model="other"))
        assert await store.get(asked.id) == (asked, ())

    async def test_unknown_ids(self, store: Store) -> None:
        with pytest.raises(UnknownExchange, match="nobody"):
            await store.get("nobody")
        with pytest.raises(UnknownExchange, match="nobody"):
            await store.signal(replace(signal(exchange(1)), exchange_id="nobody"))

    async def test_text_that_databases_refuse(self, store: Store) -> None:
        nasty = "\0 \ud800 \udc00 \ud83d\ude00 \ufdd0 \x1b \U0001f600"
        asked = exchange(1)
        first = replace(asked.candidates[0], text=nasty, outcome={nasty: [nasty, float("inf")]})
        asked = replace(
            asked, id=nasty, reason=nasty, prompt={"kind": nasty}, candidates=(first, *asked.candidates[1:])
        )
        await store.record(asked)
        sent = signal(asked, "comment", nasty, source=nasty, idempotency_key=nasty, tags={nasty: nasty})
        await store.signal(sent)
        assert await store.get(nasty) == (asked, (sent,))
        assert (await store.signal(replace(sent, id="again"))).id == sent.id

    async def test_what_cannot_be_stored_is_refused_by_name(self, store: Store) -> None:
        asked = exchange(1)
        first, second, third = asked.candidates
        for name, faulty in [
            ("created_at", replace(asked, created_at=asked.created_at.replace(tzinfo=None))),
            (
                r"candidates\[1\].sum_logprob",
                replace(asked, candidates=(first, replace(second, sum_logprob=float("nan")))),
            ),
            ("prompt_tokens", replace(asked, prompt_tokens=2**31)),
            ("candidates", replace(asked, candidates=(second, first, third))),
            ("candidates", replace(asked, candidates=(first, first))),
        ]:
            with pytest.raises(InvalidExchange, match=f"^{name}"):
                await store.record(faulty)
        with pytest.raises(UnknownExchange):
            await store.get(asked.id)

    @pytest.mark.parametrize(("kind", "value"), VALUES)
    async def test_signals_of_every_type(self, store: Store, kind: Any, value: Any) -> None:
        asked = exchange(1)
        await store.record(asked)
        sent = signal(asked, kind, value, elapsed_ms=12.5, partial="ret", retained_after_s=30.0, tags={"ide": "vim"})
        assert await store.signal(sent) == Receipt(id=sent.id, duplicate=False)
        assert (await store.get(asked.id))[1] == (sent,)

    @pytest.mark.parametrize(("kind", "value"), MISFITS)
    async def test_a_value_must_fit_its_type(self, store: Store, kind: Any, value: Any) -> None:
        asked = exchange(1)
        await store.record(asked)
        with pytest.raises(InvalidSignal, match=r"value|type"):
            await store.signal(signal(asked, kind, value))
        assert (await store.get(asked.id))[1] == ()

    async def test_the_rest_of_a_signal_must_fit_too(self, store: Store) -> None:
        asked = exchange(1)
        await store.record(asked)
        misfits: list[dict[str, Any]] = [
            {"elapsed_ms": float("inf")},
            {"retained_after_s": float("nan")},
            {"tags": {"a": 1}},
        ]
        for misfit in misfits:
            with pytest.raises(InvalidSignal, match=next(iter(misfit))):
                await store.signal(signal(asked, **misfit))
        with pytest.raises(InvalidSignal, match="created_at"):
            await store.signal(signal(asked, created_at=BEGIN.replace(tzinfo=None)))

    async def test_only_choices_that_were_shown(self, store: Store) -> None:
        asked = exchange(1, shown=2)
        await store.record(asked)
        await store.signal(signal(asked, choice=1))
        for choice in (2, -1, 2**40):
            with pytest.raises((UnknownChoice, InvalidSignal)):
                await store.signal(signal(asked, choice=choice))
        assert len((await store.get(asked.id))[1]) == 1

    async def test_only_ones_own_exchanges(self, store: Store) -> None:
        mine, nobodys = exchange(1, key_id="me"), exchange(2, key_id=None)
        await store.record(mine)
        await store.record(nobodys)
        await store.signal(signal(mine), key_id="me")
        await store.signal(signal(mine), key_id=None)
        await store.signal(signal(nobodys), key_id=None)
        for of, key_id in [(mine, "you"), (nobodys, "me")]:
            with pytest.raises(ForeignExchange):
                await store.signal(signal(of), key_id=key_id)
        assert len((await store.get(mine.id))[1]) == 2

    async def test_a_repeat_gives_the_first_id(self, store: Store) -> None:
        asked = exchange(1)
        await store.record(asked)
        sent = signal(asked, idempotency_key="k", source="a")
        assert await store.signal(sent) == Receipt(id=sent.id, duplicate=False)
        assert await store.signal(signal(asked, idempotency_key="k", source="a")) == Receipt(id=sent.id, duplicate=True)
        assert not (await store.signal(signal(asked, idempotency_key="k", source="b"))).duplicate
        assert not (await store.signal(signal(asked, idempotency_key="l", source="a"))).duplicate
        assert not (await store.signal(signal(asked, source="a"))).duplicate
        assert not (await store.signal(signal(asked, source="a"))).duplicate
        assert len((await store.get(asked.id))[1]) == 5

    async def test_repeats_at_once_are_stored_once(self, store: Store) -> None:
        asked = exchange(1)
        await store.record(asked)
        receipts = await asyncio.gather(*(store.signal(signal(asked, idempotency_key="k")) for _ in range(20)))
        assert sum(not receipt.duplicate for receipt in receipts) == 1
        assert len({receipt.id for receipt in receipts}) == 1
        assert len((await store.get(asked.id))[1]) == 1

    async def test_several_signals_are_stored_all_or_none(self, store: Store) -> None:
        asked = exchange(1)
        await store.record(asked)
        good = [signal(asked, idempotency_key=key) for key in "aab"]
        for bad, refusal in [
            (signal(asked, choice=9), UnknownChoice),
            (signal(asked, "rating", "x"), InvalidSignal),
            (replace(signal(asked), exchange_id="nobody"), UnknownExchange),
            (good[0], StoreFailed),
        ]:
            if refusal is StoreFailed:
                bad = replace(bad, idempotency_key=None)
            with pytest.raises(refusal):
                await store.signals([*good, bad])
            assert (await store.get(asked.id))[1] == ()
        receipts = await store.signals(good)
        assert [receipt.duplicate for receipt in receipts] == [False, True, False]
        assert [receipt.id for receipt in receipts] == [good[0].id, good[0].id, good[2].id]
        assert await store.signals([]) == ()

    async def test_oldest_first_with_their_signals(self, store: Store) -> None:
        asked = [exchange(minute) for minute in (3, 1, 2, 2)]
        for each in asked:
            await store.record(each)
        late, early = signal(asked[2], "rating", 2, created_at=BEGIN + timedelta(days=2)), signal(asked[2])
        for sent in (late, early):
            await store.signal(sent)
        logged = [each async for each in store.exchanges()]
        assert [each.id for each, _ in logged] == [asked[i].id for i in (1, 2, 3, 0)]
        assert [sent for _, sent in logged] == [(), (early, late), (), ()]

    async def test_since_and_purpose(self, store: Store) -> None:
        for number in range(6):
            await store.record(exchange(number, purpose="eval" if number % 2 else "traffic"))

        async def minutes(**which: Any) -> list[int]:
            return [int((each.created_at - BEGIN).seconds / 60) async for each, _ in store.exchanges(**which)]

        assert await minutes(since=BEGIN + timedelta(minutes=2)) == [2, 3, 4, 5]
        assert await minutes(since=BEGIN + timedelta(minutes=1, seconds=1), purpose="eval") == [3, 5]
        assert await minutes(purpose="traffic") == [0, 2, 4]
        assert await minutes(purpose="train") == []

    async def test_outcomes_of_traffic_and_of_what_shadowed_it(self, store: Store) -> None:
        old, judged, accepted = exchange(0), exchange(1), exchange(2)
        unjudged = tuple(replace(each, program_class=None) for each in accepted.candidates)
        accepted = replace(accepted, candidates=unjudged)
        failing = tuple(replace(each, program_class="partial", choice=None) for each in judged.candidates)
        shadow = replace(exchange(3, purpose="eval"), shadow_of=judged.id, candidates=failing)
        silent, empty = replace(exchange(4), candidates=unjudged), replace(exchange(5), candidates=())
        logged = (old, judged, accepted, shadow, silent, empty)
        for each in (*logged, exchange(6, purpose="eval"), exchange(7, purpose="train")):
            await store.record(each)
        later = accepted.created_at + timedelta(seconds=9)
        for sent in (
            signal(accepted, "reject"),
            signal(accepted, "accept", created_at=later),
            signal(judged, "reject"),
            signal(silent, "rating", 5),
        ):
            await store.signal(sent)
        found = await store.outcomes(judged.created_at)
        assert [(each.id, each.outcome) for each in found] == [
            (judged.id, 1.0),
            (accepted.id, 1.0),
            (shadow.id, 0.0),
            (silent.id, None),
            (empty.id, None),
        ]
        assert found[2].shadow_of == judged.id
        assert (found[0].created_at, found[0].model) == (judged.created_at, judged.model)
        assert (await store.get(shadow.id))[0] == shadow

    async def test_answers_are_found_by_their_prompt_or_their_text(self, store: Store) -> None:
        nasty = "\0 \ud800 100% a_b \\"
        mine, other = exchange(1, shown=2, key_id="me"), exchange(2, key_id="you")
        first = replace(other.candidates[0], text=nasty)
        again = replace(exchange(3, key_id="me"), prompt=mine.prompt, prompt_hash=mine.prompt_hash)
        for each in (mine, replace(other, candidates=(first, *other.candidates[1:])), again):
            await store.record(each)
        await store.record(exchange(4, purpose="eval"))

        async def found(since: int = 0, key_id: str | None = None, **which: Any) -> list[tuple[str, int]]:
            answers = await store.answers(BEGIN + timedelta(minutes=since), key_id=key_id, **which)
            return [(answer.exchange_id, answer.choice) for answer in answers]

        assert await found(prompt_hashes=[mine.prompt_hash, "b2:1"]) == [(again.id, 0), (mine.id, 0), (mine.id, 1)]
        assert await found(2, prompt_hashes=[mine.prompt_hash]) == [(again.id, 0)]
        assert await found(prompt_hashes=[mine.prompt_hash], key_id="you") == []
        assert await found(beginning=nasty[:-1]) == [(other.id, 0)]
        assert await found(beginning=nasty + "!") == []
        assert await found(beginning="    return 1\n") == [(mine.id, 1)]
        [answer] = await store.answers(BEGIN, key_id="you", beginning=nasty)
        assert (answer.text, answer.prompt_hash, answer.created_at) == (nasty, other.prompt_hash, other.created_at)

    async def test_a_closed_store_says_so(self, store: Store) -> None:
        asked = exchange(1)
        await store.record(asked)
        await store.aclose()
        await store.aclose()
        for use in (store.record(exchange(2)), store.signal(signal(asked)), store.get(asked.id)):
            with pytest.raises(StoreFailed, match="closed"):
                await use

    async def test_what_is_deleted_goes_with_all_that_hangs_on_it(self, store: Store) -> None:
        mine, yours = exchange(1, key_id="me"), exchange(2, key_id="you")
        shadow = replace(exchange(3), shadow_of=yours.id)
        for each in (mine, yours, shadow):
            await store.record(each)
        await store.signal(signal(mine, idempotency_key="k"))
        assert await store.delete(key_id="me", before=mine.created_at) == 0
        assert await store.delete(key_id="me", before=yours.created_at) == 1
        with pytest.raises(UnknownExchange):
            await store.get(mine.id)
        assert not (await store.signal(signal(yours, idempotency_key="k"))).duplicate
        assert await store.delete(exchange_id=yours.id) == 2
        assert [each async for each in store.exchanges()] == []
        with pytest.raises(ValueError, match="which"):
            await store.delete()


Shared = tuple[asyncio.Runner, SqlStore]


class RoundTripContract:
    """Anything comes back from a database as it was, and its export is the same line. Needs a fixture `shared`."""

    # Each database is a subclass; Hypothesis takes one that fails for a flaky test of the other, which is of no matter.
    @settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.differing_executors])
    @given(data=st.data(), asked=any_exchange())
    def test_anything_comes_back(self, shared: Shared, data: st.DataObject, asked: Exchange) -> None:
        runner, store = shared
        said: list[Signal] = []

        async def there_and_back() -> tuple[Exchange, tuple[Signal, ...]]:
            await store.record(asked)
            if len(asked.candidates) > 1:
                said.append(data.draw(any_signal(asked)))
                await store.signals(said)
            return await store.get(asked.id)

        found = runner.run(there_and_back())
        assert found == (asked, tuple(said))

        async def lines() -> list[str]:
            return [line async for line in store.lines(since=asked.created_at)]

        assert to_line(*found) in runner.run(lines()), "straight from the rows it is another line"
