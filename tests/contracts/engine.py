"""What every `Engine` must do. Subclass `EngineContract` in a test file and give it a `case` fixture.

    class TestScripted(EngineContract):
        @pytest.fixture
        async def case(self) -> AsyncIterator[EngineCase]:
            engine = ...
            yield EngineCase(engine=engine, prompt=Text("..."))
            await engine.aclose()

The engine of a case must accept at least 60 waiting requests.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest

from engine.base import Engine
from engine.errors import ContextTooLong, UnsupportedField
from engine.types import Event, Finished, GenerationRequest, Prompt, Sampling, Started, TextPiece, TokenLogprob

PATIENCE_S = 60.0
_serial = itertools.count()


@dataclass(frozen=True, kw_only=True)
class EngineCase:
    """One engine and prompts that show what it can do."""

    engine: Engine
    prompt: Prompt
    """Its greedy continuation has at least `max_tokens` tokens and no end of text before them."""
    max_tokens: int = 12
    long_tokens: int = 120
    """A `max_tokens` at which generation is still running when the first piece arrives."""
    too_long: Prompt | None = None
    """Does not fit the context."""
    unsupported: tuple[tuple[str, Sampling], ...] = ()
    """Fields that must be refused, by name."""
    running: Callable[[], int] | None = None
    """How many requests the engine works on now."""
    scores: bool = True
    samples: bool = True
    """Whether temperature 1 gives different candidates."""
    score_tolerance: float = 0.02

    def request(self, n: int = 1, *, deadline: float | None = None, **sampling: object) -> GenerationRequest:
        fields: dict[str, object] = {"temperature": 0.0, "max_tokens": self.max_tokens} | sampling
        return GenerationRequest(
            id=f"contract-{next(_serial)}",
            prompt=self.prompt,
            sampling=replace(Sampling(), **fields),  # type: ignore[arg-type]
            n=n,
            deadline=deadline,
        )


async def collect(engine: Engine, request: GenerationRequest) -> list[Event]:
    """All events of a request, checked against the laws that hold for every one."""
    async with asyncio.timeout(PATIENCE_S):
        events = [event async for event in engine.generate(request)]
    check_laws(events, request)
    return events


def finished(events: list[Event]) -> list[Finished]:
    """The finished candidates, in the order of their numbers."""
    return sorted((event for event in events if isinstance(event, Finished)), key=lambda end: end.candidate)


def check_laws(events: list[Event], request: GenerationRequest) -> None:
    """Order, completeness, text, tokens and stop strings of one request's events."""
    assert isinstance(events[0], Started)
    assert events[0].prompt_tokens > 0
    assert events[0].queue_s >= 0
    assert sum(isinstance(event, Started) for event in events) == 1
    pieces: dict[int, list[TextPiece]] = defaultdict(list)
    ended: set[int] = set()
    for event in events[1:]:
        assert not isinstance(event, Started)
        assert event.candidate not in ended, "nothing comes after a candidate's end"
        if isinstance(event, TextPiece):
            assert event.text or event.tokens, "no empty pieces"
            pieces[event.candidate].append(event)
        else:
            ended.add(event.candidate)
            _check_end(event, pieces[event.candidate], request.sampling)
    assert ended == set(range(request.n)), "every candidate ends exactly once"


def _check_end(end: Finished, pieces: list[TextPiece], sampling: Sampling) -> None:
    assert end.text == "".join(piece.text for piece in pieces)
    streamed: list[TokenLogprob] = [token for piece in pieces for token in piece.tokens]
    assert [token.id for token in streamed] in ([], [token.id for token in end.tokens])
    assert len(end.tokens) <= end.token_count <= sampling.max_tokens
    assert all(stop not in end.text for stop in sampling.stop)
    assert all(math.isfinite(token.logprob) and token.logprob <= 1e-6 for token in end.tokens)
    if end.finish_reason == "length":
        assert end.token_count == sampling.max_tokens
    end.text.encode("utf-8")  # no lone surrogates: whole characters only


async def until_idle(case: EngineCase) -> None:
    """Return when the engine works on nothing; engines do not say when, so this asks again and again."""
    while case.running is not None and case.running():  # noqa: ASYNC110
        await asyncio.sleep(0)


class EngineContract:
    """The laws of the port, one test each; a subclass brings the `case` fixture."""

    async def test_greedy_is_deterministic_and_counts_tokens(self, case: EngineCase) -> None:
        first, second = [finished(await collect(case.engine, case.request()))[0] for _ in range(2)]
        assert first.text == second.text
        assert first.finish_reason == "length"
        assert first.token_count == case.max_tokens
        assert [token.id for token in first.tokens] == [token.id for token in second.tokens]

    async def test_candidates_have_distinct_numbers(self, case: EngineCase) -> None:
        ends = finished(await collect(case.engine, case.request(n=11, temperature=1.0)))
        assert [end.candidate for end in ends] == list(range(11))
        if case.samples:
            assert len({end.text for end in ends}) > 1

    async def test_greedy_candidates_are_equal(self, case: EngineCase) -> None:
        ends = finished(await collect(case.engine, case.request(n=3)))
        assert len({end.text for end in ends}) == 1

    async def test_stop_string_is_never_part_of_the_text(self, case: EngineCase) -> None:
        whole = finished(await collect(case.engine, case.request()))[0].text
        assert len(whole) >= 4, "the case's prompt must give some text"
        middle = len(whole) // 2
        stop = whole[middle : middle + 2]
        end = finished(await collect(case.engine, case.request(stop=("never this one \x00", stop))))[0]
        assert end.text == whole[: whole.index(stop)]
        assert end.finish_reason == "stop"

    async def test_an_unfinished_stop_string_is_given_back_at_the_end(self, case: EngineCase) -> None:
        whole = finished(await collect(case.engine, case.request()))[0].text
        end = finished(await collect(case.engine, case.request(stop=(whole[-2:] + "\x00 not sampled",))))[0]
        assert (end.text, end.finish_reason) == (whole, "length")

    async def test_no_tokens_asked_for(self, case: EngineCase) -> None:
        ends = finished(await collect(case.engine, case.request(n=2, max_tokens=0)))
        assert [(end.text, end.finish_reason, end.token_count) for end in ends] == [("", "length", 0)] * 2

    async def test_closing_early_frees_the_engine(self, case: EngineCase) -> None:
        events = case.engine.generate(case.request(n=4, temperature=1.0, max_tokens=case.long_tokens))
        async with asyncio.timeout(PATIENCE_S):
            async for event in events:
                if isinstance(event, TextPiece):
                    break
            await events.aclose()
            await until_idle(case)
        await collect(case.engine, case.request())

    async def test_cancelling_the_task_frees_the_engine(self, case: EngineCase) -> None:
        begun = asyncio.Event()

        async def consume() -> None:
            async for _ in case.engine.generate(case.request(n=4, temperature=1.0, max_tokens=case.long_tokens)):
                begun.set()

        task = asyncio.create_task(consume())
        async with asyncio.timeout(PATIENCE_S):
            await begun.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await until_idle(case)
        await collect(case.engine, case.request())

    async def test_work_past_the_deadline_is_cancelled(self, case: EngineCase) -> None:
        request = case.request(n=3, max_tokens=case.long_tokens, deadline=time.monotonic() - 1.0)
        ends = finished(await collect(case.engine, request))
        assert {end.finish_reason for end in ends} == {"cancelled"}

    async def test_a_far_deadline_changes_nothing(self, case: EngineCase) -> None:
        free = finished(await collect(case.engine, case.request()))[0]
        bound = finished(await collect(case.engine, case.request(deadline=time.monotonic() + 3600)))[0]
        assert (bound.text, bound.finish_reason) == (free.text, free.finish_reason)

    async def test_too_long_a_prompt_is_refused(self, case: EngineCase) -> None:
        if case.too_long is None:
            pytest.skip("this engine does not know its context length")
        with pytest.raises(ContextTooLong, match=r"\d"):
            await collect(case.engine, replace(case.request(), prompt=case.too_long))

    async def test_unsupported_fields_are_refused_by_name(self, case: EngineCase) -> None:
        for name, sampling in case.unsupported:
            with pytest.raises(UnsupportedField) as refusal:
                await collect(case.engine, replace(case.request(), sampling=sampling))
            assert refusal.value.field == name

    async def test_a_seed_is_never_refused(self, case: EngineCase) -> None:
        await collect(case.engine, case.request(temperature=1.0, seed=7))

    async def test_as_many_alternatives_as_promised(self, case: EngineCase) -> None:
        most = case.engine.info.max_logprobs
        with pytest.raises(UnsupportedField) as refusal:
            await collect(case.engine, case.request(logprobs=most + 1))
        assert refusal.value.field == "logprobs"
        if most:
            plain = finished(await collect(case.engine, case.request()))[0]
            end = finished(await collect(case.engine, case.request(logprobs=most)))[0]
            assert end.text == plain.text
            for token in end.tokens:
                values = [value for _, value in token.top]
                assert 0 < len(values) <= most
                assert values == sorted(values, reverse=True)
                assert values[0] == pytest.approx(token.logprob, abs=case.score_tolerance), "greedy takes the likeliest"

    async def test_score_agrees_with_generation(self, case: EngineCase) -> None:
        if not case.scores:
            pytest.skip("this engine does not score")
        end = finished(await collect(case.engine, case.request()))[0]
        scored, other = await case.engine.score(case.prompt, [end.text, end.text[:3]])
        assert scored.tokens
        assert other.tokens
        # The text encoded again may give other tokens than were sampled; up to the first difference all must agree.
        for ours, theirs in zip(end.tokens, scored.tokens, strict=False):
            if ours.id != theirs.id:
                break
            assert ours.logprob == pytest.approx(theirs.logprob, abs=case.score_tolerance)

    async def test_scoring_nothing_gives_nothing(self, case: EngineCase) -> None:
        if case.scores:
            assert await case.engine.score(case.prompt, []) == []

    async def test_fifty_at_once_lose_nothing(self, case: EngineCase) -> None:
        alone = finished(await collect(case.engine, case.request()))[0].text
        requests = [case.request(n=1 + number % 3) for number in range(50)]
        async with asyncio.timeout(PATIENCE_S):
            everything = await asyncio.gather(*(collect(case.engine, request) for request in requests))
        for events in everything:
            assert {end.text for end in finished(events)} == {alone}

    async def test_closing_twice_is_fine(self, case: EngineCase) -> None:
        await collect(case.engine, case.request())
        await case.engine.aclose()
        await case.engine.aclose()

    async def test_closing_ends_what_runs(self, case: EngineCase) -> None:
        events = case.engine.generate(case.request(n=4, temperature=1.0, max_tokens=case.long_tokens))
        async with asyncio.timeout(PATIENCE_S):
            assert isinstance(await anext(events), Started)
            await case.engine.aclose()
            rest = [event async for event in events]
        assert len(finished(rest)) == 4
