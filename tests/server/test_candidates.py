"""`POST /v1/rerank/candidates`: candidates that the client already has."""

from typing import Any

import pytest

from engine import Scripted, ScriptedEngine
from feedback import InMemoryStore

from .conftest import Serve, Setup
from .test_rerank import TESTS

PATH = "/v1/rerank/candidates"
THREE = ["    return 2\n", "    return 1\n", "    return 3\n"]


async def rank(server: Setup, **body: Any) -> Any:
    reply = await server.post(PATH, **{"prompt": "def one():\n", "candidates": THREE, **body})
    assert reply.status_code == 200, reply.text
    return reply.json()


async def test_candidates_are_ranked_by_tests_and_told_by_their_place(server: Setup) -> None:
    reply = await rank(server, rerank={"tests": TESTS})
    assert [each["index"] for each in reply["results"]] == [1, 0, 2]
    assert [each["rerank"]["class"] for each in reply["results"]] == ["pass", "partial", "partial"]
    assert (reply["object"], reply["rerank"]["method"], reply["rerank"]["status"]) == ("rerank", "tests", "complete")
    assert (reply["rerank"]["num_candidates"], reply["rerank"]["num_passing"]) == (3, 1)
    assert reply["usage"]["completion_tokens"] == 0
    assert reply["usage"]["prompt_tokens"] == sum(map(len, THREE))


async def test_the_served_model_says_how_likely_they_are(serve: Serve) -> None:
    script = [Scripted("a", logprob=-3.0), Scripted("b", logprob=-0.1), Scripted("c", logprob=-1.0)]
    async with serve(engine=ScriptedEngine({"x": script})) as server:
        reply = await rank(server, prompt="x", candidates=["a", "b", "c"], rerank={"method": "likelihood"})
        chat = await rank(server, prompt=None, messages=[{"role": "user", "content": "x"}], candidates=["a", "b", "c"])
    assert [each["index"] for each in reply["results"]] == [1, 2, 0]
    assert reply["results"][0]["rerank"]["mean_logprob"] == pytest.approx(-0.1)
    assert [each["text"] for each in chat["results"]] == ["b", "c", "a"]


async def test_it_is_logged_and_takes_feedback(serve: Serve) -> None:
    store = InMemoryStore()
    async with serve(store=store) as server:
        reply = await rank(server, rerank={"tests": TESTS})
        said = await server.post("/v1/feedback", id=reply["id"], choice=0, type="accept")
        assert said.status_code == 202
        [(exchange, signals)] = [logged async for logged in store.exchanges()]
    assert (exchange.route, len(exchange.candidates), len(signals)) == ("candidates", 3, 1)
    assert [each.choice for each in exchange.candidates] == [1, 0, 2]


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"candidates": []}, "candidates"),
        ({"candidates": ["x"] * 65}, "candidates"),
        ({"candidates": [1]}, "candidates[0]"),
        ({"prompt": None}, "prompt"),
        ({"messages": [{"role": "user", "content": "x"}]}, "prompt"),
        ({"rerank": {"method": "off"}}, "rerank.method"),
        ({"model": "scripted:1m-none.r2+off"}, "model"),
        ({"rerank": {"num_candidates": 3}}, "rerank.num_candidates"),
        ({"rerank": {"return": "all"}}, "rerank.return"),
        ({"rerank": {"temperature": 0.5}}, "rerank.temperature"),
        ({"rerank": {"method": "best"}}, "rerank.method"),
        ({"rerank": {"unknown": 1}}, "rerank.unknown"),
    ],
)
async def test_what_cannot_be_is_refused_by_name(server: Setup, body: dict[str, Any], param: str) -> None:
    reply = await server.post(PATH, **{"prompt": "def one():\n", "candidates": THREE, **body})
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, param), reply.text


async def test_unknown_keys_are_named_in_a_header(server: Setup) -> None:
    body = {"prompt": "x", "candidates": ["a"], "temperatur": 1, "k\r\n\x00é": 1}
    reply = await server.client.post(PATH, json=body)
    assert reply.headers["x-touchstone-ignored"] == "temperatur, k\\r\\n\\x00\\xe9"


async def test_one_candidate_and_equal_ones(server: Setup) -> None:
    reply = await rank(server, candidates=["    return 1\n", "    return 1\n"], rerank={"tests": TESTS})
    assert (len(reply["results"]), reply["rerank"]["num_unique"], reply["rerank"]["num_passing"]) == (2, 1, 2)
    assert len((await rank(server, candidates=["a"]))["results"]) == 1
