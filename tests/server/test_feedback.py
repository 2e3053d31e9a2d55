"""`POST /v1/feedback`: stored before it is acknowledged, once a key, by type."""

from typing import Any

import pytest

from .conftest import Setup
from .test_errors import error_of


async def exchange(server: Setup, **body: Any) -> str:
    return str((await server.complete(**body)).json()["id"])


async def test_a_signal_is_stored_then_acknowledged(server: Setup) -> None:
    key = await exchange(server)
    reply = await server.post("/v1/feedback", id=key, type="edit", value="better", elapsed_ms=12, tags={"ide": "x"})
    assert reply.status_code == 202
    assert reply.json()["duplicate"] is False
    _, [signal] = await server.parts.store.get(key)
    assert (signal.type, signal.value, signal.elapsed_ms, signal.tags) == ("edit", "better", 12, {"ide": "x"})
    assert reply.json()["id"] == signal.id


async def test_a_repeat_under_the_same_key_is_a_duplicate(server: Setup) -> None:
    key = await exchange(server)
    headers = {"Idempotency-Key": "k1"}
    first = await server.post("/v1/feedback", headers, id=key, type="accept")
    again = await server.post("/v1/feedback", headers, id=key, type="accept")
    assert (first.status_code, again.status_code) == (202, 200)
    assert again.json() == {"id": first.json()["id"], "object": "feedback", "duplicate": True}
    assert len((await server.parts.store.get(key))[1]) == 1


async def test_a_batch_is_stored_whole_or_not_at_all(server: Setup) -> None:
    key = await exchange(server, n=2)
    events = [{"id": key, "type": "accept", "choice": 0}, {"id": key, "type": "rating", "value": 4, "choice": 1}]
    headers = {"Idempotency-Key": "b1"}
    bad = await server.post("/v1/feedback", events=[*events, {"id": "cmpl-unknown", "type": "accept"}])
    assert (bad.status_code, error_of(bad)["code"]) == (404, "unknown_id")
    assert error_of(bad)["message"] == "there is no exchange cmpl-unknown"
    assert (await server.parts.store.get(key))[1] == ()
    reply = await server.post("/v1/feedback", headers, events=events)
    assert reply.status_code == 202
    assert [result["duplicate"] for result in reply.json()["data"]] == [False, False]
    again = await server.post("/v1/feedback", headers, events=events)
    assert again.status_code == 200
    assert len((await server.parts.store.get(key))[1]) == 2


async def test_choices_of_a_list_of_prompts_are_found_by_their_own_ids(server: Setup) -> None:
    body = (await server.complete(["hello", "bye"], n=2, rerank={"method": "off"})).json()
    where = body["choices"][3]["rerank"]
    reply = await server.post("/v1/feedback", id=where["feedback_id"], choice=where["feedback_choice"], type="reject")
    assert reply.status_code == 202


@pytest.mark.parametrize(
    ("event", "status", "param"),
    [
        ({"id": "cmpl-nobody", "type": "accept"}, 404, "id"),
        ({"type": "accept"}, 400, "id"),
        ({"id": "x", "type": "love"}, 400, "type"),
        ({"id": "x", "type": "accept", "colour": 1}, 400, "colour"),
        ({"id": "x", "type": "edit"}, 400, "value"),
        ({"id": "x", "type": "rating", "value": True}, 400, "value"),
        ({"id": "x", "type": "tests", "value": {"passed": 1}}, 400, "value"),
        ({"id": "x", "type": "accept", "choice": -1}, 400, "choice"),
        ({"events": []}, 400, "events"),
        ({"events": [{"id": "x", "type": "comment", "value": 1}]}, 400, "events[0].value"),
        ({"events": [{"type": "accept"}]}, 400, "events[0].id"),
    ],
)
async def test_what_does_not_fit_is_refused_by_name(
    server: Setup, event: dict[str, Any], status: int, param: str
) -> None:
    reply = await server.post("/v1/feedback", **event)
    assert reply.status_code == status, reply.text
    assert error_of(reply)["param"] == param


async def test_a_choice_that_was_not_given_is_refused(server: Setup) -> None:
    reply = await server.post("/v1/feedback", id=await exchange(server), type="accept", choice=7)
    assert (reply.status_code, error_of(reply)["param"]) == (400, "choice")
