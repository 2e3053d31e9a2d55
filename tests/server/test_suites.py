"""Stored suites: kept by content, each key's own unless public, named in requests, hidden ones never shown."""

import json
from pathlib import Path
from typing import Any

import pytest

from .conftest import Setup
from .test_keys import added, refusal

CODE = "assert one() == 1  # nobody is to see this\n"
SCOPES = ("completions", "rerank:tests", "suites")


async def put(server: Setup, headers: dict[str, str] | None = None, **body: Any) -> dict[str, Any]:
    reply = await server.post("/v1/suites", headers, **({"code": CODE} | body))
    assert reply.status_code in (200, 201), reply.text
    stored: dict[str, Any] = reply.json()
    return stored


def named(suite_id: str, **tests: Any) -> dict[str, Any]:
    return {"method": "tests", "early_exit": "off", "tests": {"suite_id": suite_id, **tests}}


async def test_a_suite_is_stored_once_and_named(server: Setup) -> None:
    first = await server.post("/v1/suites", code=CODE, entry_point="one")
    again = await server.post("/v1/suites", code=CODE)
    assert (first.status_code, again.status_code) == (201, 200)
    suite_id = first.json()["id"]
    assert again.json()["id"] == suite_id
    assert suite_id.startswith("b2:")
    reply = (await server.complete("def one():\n", rerank=named(suite_id))).json()
    assert reply["choices"][0]["text"] == "    return 1"
    assert reply["choices"][0]["rerank"]["class"] == "pass"
    exchange, _ = await server.parts.store.get(reply["id"])
    assert exchange.suite is not None
    assert (exchange.suite["hash"], exchange.suite["visible"]) == (suite_id, True)
    [listed] = (await server.client.get("/v1/suites")).json()["data"]
    assert listed["id"] == suite_id
    assert "code" not in listed
    assert (await server.client.get(f"/v1/suites/{suite_id}")).json()["code"] == CODE


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/rerank/candidates"])
async def test_every_route_that_ranks_takes_it(server: Setup, path: str) -> None:
    suite_id = (await put(server))["id"]
    body: dict[str, Any] = {"messages": [{"role": "user", "content": "def one():\n"}], "rerank": named(suite_id)}
    if path == "/v1/rerank/candidates":
        body |= {"candidates": ["def one(): return 2", "def one():\n    return 1\n"]}
    reply = (await server.client.post(path, json=body)).raise_for_status().json()
    exchange, _ = await server.parts.store.get(reply["id"])
    assert exchange.suite is not None
    assert exchange.suite["hash"] == suite_id


async def test_a_hidden_one_is_never_shown(server: Setup) -> None:
    stored = await put(server, visible=False, public=True)
    shown = [stored, (await server.client.get(f"/v1/suites/{stored['id']}")).json()]
    shown += [(await server.client.get("/v1/suites")).json()]
    reply = await server.complete("def one():\n", rerank=named(stored["id"]))
    record = await server.client.get(f"/v1/rerank/{reply.json()['id']}")
    assert "nobody is to see" not in json.dumps(shown) + reply.text + record.text
    exchange = record.json()["exchange"]
    assert (exchange["suite"]["hash"], exchange["suite"]["body"]) == (stored["id"], None)
    assert any(candidate["tests"]["passed"] == 1 for candidate in exchange["candidates"])
    logged, _ = await server.parts.store.get(reply.json()["id"])
    assert logged.suite is not None
    assert logged.suite["body"] == CODE
    mended = await server.complete("def one():\n", rerank={**named(stored["id"]), "repair_rounds": 1})
    assert mended.status_code == 400
    said = await server.complete("def one():\n", rerank=named(stored["id"], visible=True))
    assert refusal(said) == (400, "conflict")
    assert said.json()["error"]["param"] == "rerank.tests.visible"


async def test_a_keys_own_is_nobody_elses_unless_public(server: Setup, tmp_path: Path) -> None:
    (_, mine), (_, theirs) = added(tmp_path, scopes=SCOPES), added(tmp_path, scopes=SCOPES)
    _, plain = added(tmp_path)
    suite_id = (await put(server, mine))["id"]
    assert (await server.complete("def one():\n", mine, rerank=named(suite_id))).status_code == 200
    for reply in (
        await server.complete("def one():\n", theirs, rerank=named(suite_id)),
        await server.client.get(f"/v1/suites/{suite_id}", headers=theirs),
    ):
        assert refusal(reply) == (404, "unknown_suite")
    assert (await server.client.get("/v1/suites", headers=theirs)).json()["data"] == []
    assert refusal(await server.client.get("/v1/suites", headers=plain)) == (403, "insufficient_permissions")
    assert (await put(server, mine, public=True))["public"]
    reply = await server.complete("def one():\n", plain, rerank=named(suite_id))
    assert reply.status_code == 200
    [listed] = (await server.client.get("/v1/suites", headers=theirs)).json()["data"]
    assert (listed["id"], listed["own"]) == (suite_id, False)
    _, asks = added(tmp_path, scopes=("completions", "suites"))
    assert refusal(await server.complete("x", asks, rerank=named(suite_id))) == (403, "insufficient_permissions")


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"code": ""}, "code"),
        ({"code": "x = 1"}, "code"),
        ({"code": "assert ("}, "code"),
        ({"language": "cobol"}, "language"),
        ({"visible": "no"}, "visible"),
        ({"owner": "me"}, "owner"),
    ],
)
async def test_what_is_no_suite_is_refused_by_name(server: Setup, body: dict[str, Any], param: str) -> None:
    reply = await server.post("/v1/suites", None, **({"code": CODE} | body))
    assert reply.status_code == 400
    assert reply.json()["error"]["param"] == param


async def test_a_key_that_keeps_no_text_stores_none(server: Setup, tmp_path: Path) -> None:
    _, header = added(tmp_path, scopes=SCOPES, privacy="no_text")
    assert refusal(await server.post("/v1/suites", header, code=CODE)) == (400, "no_text")


async def test_an_unknown_one_is_named(server: Setup) -> None:
    reply = await server.complete("def one():\n", rerank=named("b2:0"))
    assert refusal(reply) == (404, "unknown_suite")
    assert reply.json()["error"]["param"] == "rerank.tests.suite_id"
