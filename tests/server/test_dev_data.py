"""`POST /v1/dev-data`: what Continue tells of answers, joined to them without an id."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from engine import Scripted, ScriptedEngine
from engine.scripted import FILL
from feedback import InMemoryStore, RedactingStore, SqlStore, to_line

from .conftest import Serve, Setup
from .test_keys import added

PREFIX, SUFFIX = "def total(xs):", "\n    return s\n"
TEXT = "\n    s = sum(xs)\n    s += 0\n"
CHAT = "Here it is:\n```python\ntotal = sum(xs)\n```\n"
SCRIPT: dict[str, list[str | Scripted]] = {PREFIX + FILL + SUFFIX: [TEXT], "add them": [CHAT]}


def event(name: str = "autocomplete", **data: Any) -> dict[str, Any]:
    """As Continue 0.2.0 posts it, shortened by settings of its own that every event repeats."""
    base = {
        "eventName": name,
        "schema": "0.2.0",
        "timestamp": 1764403200000,
        "userId": "",
        "userAgent": "Visual Studio Code/1.106.0 (Continue/1.2.11)",
        "selectedProfileId": "local",
        "modelProvider": "openai",
        "modelName": "scripted:1m-none",
    }
    return {"name": name, "data": {**base, **data}, "schema": "0.2.0", "level": "all", "profileId": "local"}


def autocomplete(number: str, *, accepted: bool = True, completion: str = TEXT, **data: Any) -> dict[str, Any]:
    return event(
        accepted=accepted,
        completion=completion,
        completionId=number,
        prefix=PREFIX,
        suffix=SUFFIX,
        prompt=f"<fim_prefix>{PREFIX}<fim_suffix>{SUFFIX}<fim_middle>",
        time=212,
        cacheHit=False,
        filepath="file:///a.py",
        uniqueId="u",
        debounceDelay=350,
        completionOptions={"maxTokens": 256, "temperature": 0.01, "stop": ["<fim_prefix>"]},
        **data,
    )


@pytest.fixture(params=["memory", "sqlite"])
async def server(request: pytest.FixtureRequest, serve: Serve, tmp_path: Path) -> Any:
    store = SqlStore.open(tmp_path / "log.db") if request.param == "sqlite" else None
    async with serve(engine=ScriptedEngine(SCRIPT, model_name="scripted:1m-none.r2"), store=store) as made:
        yield made
    if store is not None:
        await store.aclose()


async def ask(server: Setup, headers: dict[str, str] | None = None) -> str:
    """What Continue asks for when it shows such a completion."""
    prompt = f"<fim_prefix>{PREFIX}<fim_suffix>{SUFFIX}<fim_middle>"
    reply = await server.complete(prompt, headers, model="scripted:1m-none", max_tokens=256, temperature=0.01)
    assert reply.json()["choices"][0]["text"] == TEXT
    return str(reply.json()["id"])


async def result_of(server: Setup, *events: Any, headers: dict[str, str] | None = None) -> list[str]:
    """One event as an object, several as a list."""
    reply = await server.client.post("/v1/dev-data", json=events[0] if len(events) == 1 else events, headers=headers)
    assert reply.status_code == 200, reply.text
    return [each["result"] for each in reply.json()["data"]]


async def signals(server: Setup, key: str) -> list[tuple[Any, ...]]:
    found = (await server.parts.store.get(key))[1]
    return sorted((each.type, each.value, each.partial, each.source) for each in found)  # of one millisecond


async def test_an_accepted_completion_is_joined_once(server: Setup) -> None:
    older, key = await ask(server), await ask(server)
    assert await result_of(server, autocomplete("1")) == ["joined"]
    assert await result_of(server, autocomplete("1")) == ["duplicate"]
    assert await signals(server, key) == [("accept", None, None, "continue")]
    assert await signals(server, older) == []
    metrics = (await server.client.get("/metrics")).text
    for line in (
        'dev_data_events_total{event="autocomplete",result="joined"} 1.0',
        'dev_data_events_total{event="autocomplete",result="duplicate"} 1.0',
        'feedback_total{source="continue",type="accept"} 1.0',
        "suggestions_shown_total 1.0",
        "suggestions_accepted_total 1.0",
    ):
        assert f"touchstone_{line}" in metrics


async def test_a_rejected_beginning_says_that_it_was_one(server: Setup) -> None:
    key = await ask(server)
    assert await result_of(server, autocomplete("1", accepted=False, completion="\n    s = sum(xs)")) == ["joined"]
    assert await signals(server, key) == [("reject", None, "beginning", "continue")]


async def test_without_the_prompt_the_text_finds_it(server: Setup) -> None:
    key = await ask(server)
    told = autocomplete("1")
    told["data"] = {name: value for name, value in told["data"].items() if name not in ("prefix", "suffix", "prompt")}
    assert await result_of(server, told) == ["joined"]
    told["data"] |= {"completion": "\n    s", "completionId": "2"}
    assert await result_of(server, told) == ["not_joined"]  # too little to be no coincidence
    assert len(await signals(server, key)) == 1


async def test_a_batch_of_every_kind(server: Setup) -> None:
    gap = await ask(server)
    chat = str((await server.chat("add them", stream=False, rerank={"method": "off"})).json()["id"])
    told = [
        event("editOutcome", accepted=True, prompt="<user>\nadd them", completion=CHAT, newCode="total = sum(xs)"),
        event("editOutcome", accepted=True, completion=CHAT, newCode="total = sum(xs) or 0", previousCode=""),
        event("chatFeedback", feedback=False, prompt="<user>\nadd them", completion=CHAT, sessionId="s"),
        event("nextEditOutcome", accepted=False, prompt="?", completion=TEXT, elapsed=80, completionId="n"),
        event("chatInteraction", prompt="p", completion=CHAT, sessionId="s"),
        event("tokensGenerated", promptTokens=3, generatedTokens=4),
        event("somethingNew", accepted=True, completion=TEXT),
        event("autocomplete", accepted="yes"),
        {"name": "autocomplete", "level": "noCode", "data": {"accepted": True, "completionId": "3"}},
        {"name": "autocomplete"},
    ]
    counted = ["counted"] * 4 + ["not_joined", "counted"]
    assert await result_of(server, *told) == ["joined"] * 4 + counted
    assert await signals(server, chat) == [
        ("accept", None, None, "continue"),
        ("accept", None, None, "continue"),
        ("edit", "total = sum(xs) or 0", None, "continue"),
        ("reject", None, None, "continue"),
    ]
    assert await signals(server, gap) == [("reject", None, None, "continue")]
    metrics = (await server.client.get("/metrics")).text
    assert 'touchstone_dev_data_events_total{event="other",result="counted"} 1.0' in metrics


async def test_nothing_is_found_for_a_stranger(server: Setup) -> None:
    assert await result_of(server, autocomplete("1")) == ["not_joined"]


@pytest.mark.parametrize(
    ("body", "param"),
    [("{", None), ("3", None), ("{}", "name"), ('[{"name": "x"}, {"name": 3}]', "[1].name"), ('{"name": ""}', "name")],
)
async def test_what_is_no_event_is_refused(server: Setup, body: str, param: str | None) -> None:
    reply = await server.client.post("/v1/dev-data", content=body)
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, param)


async def test_events_without_a_time_or_an_id_are_told_apart_by_what_they_say(server: Setup) -> None:
    key = await ask(server)
    told = autocomplete("")
    other = json.loads(json.dumps(told))
    other["data"]["timestamp"] += 1
    assert await result_of(server, told, told, other) == ["joined", "duplicate", "joined"]
    assert len(await signals(server, key)) == 2


async def test_keys_find_their_own_answers_alone(serve: Serve, tmp_path: Path) -> None:
    async with serve(engine=ScriptedEngine(SCRIPT, model_name="scripted:1m-none.r2")) as server:
        mine, other, quiet = added(tmp_path)[1], added(tmp_path)[1], added(tmp_path, privacy="no_text")[1]
        key = await ask(server, mine)
        assert await result_of(server, autocomplete("1"), headers=other) == ["not_joined"]
        assert await result_of(server, autocomplete("1"), headers=mine) == ["joined"]
        hushed = await ask(server, quiet)
        short = autocomplete("1", completion="\n    s = sum(xs)")
        assert await result_of(server, short, headers=quiet) == ["joined"]
        for each in (key, hushed):
            [(kind, value, partial, _)] = await signals(server, each)
            assert (kind, value, partial) == ("accept", None, None)


async def test_what_was_redacted_in_the_log_is_found_all_the_same(serve: Serve) -> None:
    key, made = "AKIAIOSFODNN7EXAMPLE", InMemoryStore()
    prefix, text = f"KEY = '{key}'\n{PREFIX}", f"\n    s = call('{key}', xs)\n"
    engine = ScriptedEngine({prefix + FILL + SUFFIX: [text]}, model_name="scripted:1m-none.r2")
    async with serve(engine=engine, store=RedactingStore(made)) as server:
        prompt = f"<fim_prefix>{prefix}<fim_suffix>{SUFFIX}<fim_middle>"
        reply = (await server.complete(prompt, model="scripted:1m-none", max_tokens=256)).json()
        assert reply["choices"][0]["text"] == text
        told: dict[str, Any] = {"accepted": True, "completion": text}
        assert await result_of(server, event(**told, completionId="a", prefix=prefix, suffix=SUFFIX)) == ["joined"]
        assert await result_of(server, event(**told, completionId="b")) == ["joined"]
    exchange, said = await made.get(reply["id"])
    assert [one.type for one in said] == ["accept", "accept"]
    assert key not in to_line(exchange, said)
