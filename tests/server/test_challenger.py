"""Shadows and canaries, and how their contests end."""

import asyncio
from collections import Counter
from pathlib import Path

import pytest

from engine import Scripted, ScriptedEngine
from server.roster import share_of

from .fleet import ONE, TESTS, Fleet, closed, engine_of, fleet, id_of, name_of, until

JUDGED = {"tests": TESTS, "num_candidates": 1}


async def challenge(served: Fleet, mode: str, share: float = 1.0) -> None:
    reply = await served.admin(action="challenge", id=id_of(1), mode=mode, share=share)
    assert reply.status_code == 200, reply.text


async def shadows_of(served: Fleet) -> list[str]:
    """What was shadowed, once nothing is under way any more."""
    assert served.service.shadows is not None
    await until(lambda: served.service.shadows is not None and served.service.shadows.running == 0)
    return [exchange.shadow_of async for exchange, _ in served.log.exchanges() if exchange.shadow_of is not None]


async def test_a_shadow_answers_too_and_is_seen_in_the_log_alone(tmp_path: Path) -> None:
    async with fleet(tmp_path) as served:
        served.make[id_of(1)] = lambda: engine_of(1, good=False)
        await challenge(served, "shadow")
        reply = await served.complete(ONE, headers={"X-Session-Id": "s1"}, rerank=JUDGED)
        body = reply.json()
        assert (reply.headers["x-model-round"], body["choices"][0]["text"]) == ("0", "    return 1")
        assert await shadows_of(served) == [body["id"]]
        [shadow] = [one async for one, _ in served.log.exchanges() if one.shadow_of is not None]
        assert (shadow.purpose, shadow.model, shadow.round) == ("eval", name_of(1), 1)
        assert (shadow.session_id, shadow.prompt, shadow.suite) == (
            "s1",
            {"kind": "text", "text": ONE},
            (await served.log.get(body["id"]))[0].suite,
        )
        [candidate] = shadow.candidates
        assert (candidate.text, candidate.program_class, candidate.choice) == ("    return 2", "partial", None)
        refused = await served.client.post("/v1/feedback", json={"id": shadow.id, "type": "accept"})
        assert refused.status_code == 400  # nobody was shown it
        assert await served.metric('touchstone_shadow_requests_total{result="done"}') == 1
        assert await served.metric("touchstone_rerank_requests_total") == 1
        assert await served.metric("touchstone_answers_total") == 1


async def test_what_is_not_shadowed(tmp_path: Path) -> None:
    async with fleet(tmp_path) as served:
        await challenge(served, "shadow")
        await served.complete(ONE, rerank={"method": "off"})
        await served.complete("who", rerank={"method": "likelihood"})  # nothing was run, so nothing can be compared
        await served.complete(ONE, headers={"X-Purpose": "eval"}, rerank=JUDGED)
        await served.complete(ONE, model=name_of(1), rerank=JUDGED)
        assert await shadows_of(served) == []
        chat = {"messages": [{"role": "user", "content": ONE}], "rerank": JUDGED, "stream": True}
        await served.client.post("/v1/chat/completions", json=chat)
        assert len(await shadows_of(served)) == 1


async def test_a_share_of_requests_is_shadowed(tmp_path: Path) -> None:
    async with fleet(tmp_path) as served:
        await challenge(served, "shadow", 0.3)
        for _ in range(60):
            await served.complete(ONE, rerank=JUDGED)
            await shadows_of(served)
        assert 6 <= len(await shadows_of(served)) <= 32


def slow_engine() -> ScriptedEngine:
    """Right, and slow, except for the self-check."""
    script: dict[str, list[str | Scripted]] = {ONE: [Scripted("    return 1\n", delay_s=0.2)]}
    return ScriptedEngine(script, otherwise=("    return items[0]\n",), model_name=name_of(1))


async def test_shadows_are_dropped_when_busy_and_end_with_a_drain(tmp_path: Path) -> None:
    async with fleet(tmp_path, challenger_slots=2) as served:
        served.make[id_of(1)] = slow_engine
        await challenge(served, "shadow")
        for _ in range(5):
            assert (await served.complete(ONE, rerank=JUDGED)).status_code == 200
        assert await served.metric('touchstone_shadow_requests_total{result="dropped"}') == 3
        async with asyncio.timeout(1):
            await served.service.lifecycle.drain(0)
            assert await shadows_of(served) == []
        roster = served.service.roster
        assert roster.challenger is not None
        assert roster.challenger.leases == 0


async def test_a_shadow_that_fails_hurts_nobody(tmp_path: Path) -> None:
    async with fleet(tmp_path) as served:
        await challenge(served, "shadow")
        await served.engines[id_of(1)].aclose()
        assert (await served.complete(ONE, rerank=JUDGED)).status_code == 200
        assert await shadows_of(served) == []
        assert await served.metric('touchstone_shadow_requests_total{result="failed"}') == 1


async def test_a_canary_answers_a_share_of_the_keys_and_always_the_same(tmp_path: Path) -> None:
    async with fleet(tmp_path) as served:
        await challenge(served, "canary", 0.25)
        found = Counter[str]()
        for number in range(80):
            session = {"X-Session-Id": f"session-{number}"}
            first = await served.who(session, model=name_of(0))
            assert {await served.who(session), await served.who(session, model="tiny:1m-int8")} == {first}
            assert (first == "r1") == (share_of(id_of(1), f"session-{number}") < 0.25)
            assert await served.who(session | {"X-Purpose": "eval"}) == "r0"
            assert await served.who(session, model=name_of(1)) == "r1"
            found[first] += 1
        assert 8 <= found["r1"] <= 34
        assert await served.who() == await served.who()  # by its address
        answered = 'touchstone_answers_total{outcome="untested",role="challenger",round="1"}'
        assert await served.metric(answered) > 0


async def test_a_canary_stream_is_of_one_model(tmp_path: Path) -> None:
    async with fleet(tmp_path) as served:
        await challenge(served, "canary")
        stream = asyncio.create_task(served.stream())
        canary = served.service.roster.challenger
        assert canary is not None
        await until(lambda: canary.leases == 1)
        assert (await served.admin(action="withdraw", id=id_of(1))).status_code == 200
        assert await served.who() == "r0"
        assert await stream == (1, "1" * 40, {"scripted-none-r1"})
        await until(lambda: closed(served.engines[id_of(1)]))


@pytest.mark.parametrize("mode", ["shadow", "canary"])
@pytest.mark.parametrize("better", [True, False])
async def test_a_contest_ends_by_what_the_log_says(tmp_path: Path, mode: str, better: bool) -> None:
    async with fleet(tmp_path) as served:
        served.service.roster.current.engine = engine_of(0, good=not better)
        served.make[id_of(1)] = lambda: engine_of(1, good=better)
        await challenge(served, mode, 1.0 if mode == "shadow" else 0.5)
        contest = served.service.contest
        assert contest is not None
        verdict = await contest.look()
        assert verdict is not None
        assert (verdict.decision, verdict.pairs) == ("go on", 0)
        for number in range(60):
            await served.complete(ONE, headers={"X-Session-Id": f"{number}"}, rerank=JUDGED)
            await shadows_of(served)
        page = (await served.client.get("/admin/models")).json()
        assert page["contest"]["decision"] == "go on"
        verdict = await contest.look()
        assert verdict is not None
        assert verdict.mean == (1.0 if better else -1.0)
        assert served.service.roster.challenger is None
        if better:
            assert verdict.decision == "promote"
            assert served.store.champion_id() == id_of(1)
            assert await served.who() == "r1"
        else:
            assert verdict.decision == "refuse"
            assert await served.who() == "r0"
            [refusal] = served.store.refused()
            assert (refusal.id, refusal.round) == (id_of(1), 1)
            assert refusal.evaluation is not None
            assert refusal.evaluation["contest"]["pairs"] == verdict.pairs
            await until(lambda: closed(served.engines[id_of(1)]))
        assert await contest.look() is None


async def test_a_contest_without_a_winner_ends_too(tmp_path: Path) -> None:
    async with fleet(tmp_path, challenger_pairs=5) as served:
        await challenge(served, "shadow")
        for _ in range(5):
            await served.complete(ONE, rerank=JUDGED)
            await shadows_of(served)
        assert served.service.contest is not None
        verdict = await served.service.contest.look()
        assert verdict is not None
        assert (verdict.decision, verdict.reason) == ("refuse", "no better in 5 pairs")
        assert served.store.challenger() is None


async def test_another_champion_ends_the_contest(tmp_path: Path) -> None:
    async with fleet(tmp_path, rounds=3) as served:
        await challenge(served, "canary")
        served.store.set_champion(id_of(0), id_of(2))
        await served.switching.look()
        assert served.service.roster.challenger is None
        assert await served.who() == "r2"
        await until(lambda: closed(served.engines[id_of(1)]))


async def test_a_challenger_that_cannot_be_served_is_said_to_be_so(tmp_path: Path) -> None:
    async with fleet(tmp_path) as served:
        (served.store.root / id_of(1) / "ct2-int8" / "model.bin").write_bytes(b"short")
        refused = await served.admin(action="challenge", id=id_of(1), mode="canary")
        assert refused.status_code == 422
        assert served.store.challenger() is None
        served.store.set_challenger(id_of(0), id_of(1), mode="canary", share=1.0)
        await served.switching.look()
        assert await served.who() == "r0"
        assert "changed" in (await served.ready())["not_served"]["reason"]
