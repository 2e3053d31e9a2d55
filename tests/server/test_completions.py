"""`POST /v1/completions`, plain."""

from typing import Any

import pytest

from engine import ScriptedEngine

from .conftest import SCRIPT, Serve, Setup

OFF: dict[str, Any] = {"rerank": {"method": "off"}}


async def test_a_plain_reply_has_openais_shape_and_our_evidence(server: Setup) -> None:
    reply = await server.complete(model="scripted:1m-none.r2", temperature=0, **OFF)
    body = reply.json()
    assert reply.status_code == 200
    assert body["id"].startswith("cmpl-")
    assert body["object"] == "text_completion"
    assert body["model"] == "scripted:1m-none.r2"
    assert body["system_fingerprint"] == "scripted-none-r2"
    assert [(c["index"], c["text"], c["finish_reason"]) for c in body["choices"]] == [(0, "first", "stop")]
    assert body["usage"] == {
        "prompt_tokens": 5,
        "completion_tokens": 6,
        "total_tokens": 11,
        "completion_tokens_details": {"returned_tokens": 5, "discarded_tokens": 1},
    }
    assert body["rerank"]["status"] == "off"
    assert body["rerank"]["feedback_id"] == body["id"]
    assert reply.headers["x-model-round"] == "2"
    assert reply.headers["x-rerank-status"] == "off"
    assert reply.headers["x-seed-honoured"] == "true"
    assert {part.split(";")[0].strip() for part in reply.headers["server-timing"].split(",")} >= {"queue", "rerank"}
    assert len(reply.headers["x-request-id"]) == 36


async def test_n_choices_come_back_with_reranking_off(server: Setup) -> None:
    body = (await server.complete(n=3, **OFF)).json()
    assert [c["text"] for c in body["choices"]] == ["first", "second", "third"]


async def test_a_list_of_prompts_yields_n_choices_each_in_order_with_their_own_feedback_ids(server: Setup) -> None:
    body = (await server.complete(["hello", "bye"], n=2, **OFF)).json()
    assert [(c["index"], c["text"]) for c in body["choices"]] == [(0, "first"), (1, "second"), (2, "one"), (3, "one")]
    where = [(c["rerank"]["feedback_id"], c["rerank"]["feedback_choice"]) for c in body["choices"]]
    assert where == [(body["id"], 0), (body["id"], 1), (body["id"] + ".1", 0), (body["id"] + ".1", 1)]
    assert body["usage"]["prompt_tokens"] == 8


async def test_a_long_list_does_not_fill_the_queue_by_itself(serve: Serve) -> None:
    async with serve(engine=ScriptedEngine(SCRIPT, max_running=8, max_waiting=64)) as server:
        body = (await server.complete(["hello", "bye"] * 100, rerank={"num_candidates": 2})).json()
        assert [c["text"] for c in body["choices"]] == ["first", "one"] * 100


async def test_token_ids_and_lists_of_them_are_prompts(server: Setup) -> None:
    hello = [ord(c) for c in "hello"]
    assert (await server.complete(hello, **OFF)).json()["choices"][0]["text"] == "first"
    body = (await server.complete([hello, [ord(c) for c in "bye"]], **OFF)).json()
    assert [c["text"] for c in body["choices"]] == ["first", "one"]


async def test_a_suffix_fills_in_the_middle_without_reranking_by_default(serve: Serve) -> None:
    async with serve(engine=ScriptedEngine({"def f():<FILL>\nend": ["    pass"]})) as server:
        body = (await server.complete("def f():", suffix="\nend")).json()
        assert body["choices"][0]["text"] == "    pass"
        assert body["rerank"]["status"] == "off"


async def test_stops_more_than_four(server: Setup) -> None:
    body = (await server.complete(stop=["!", "?", ";", ":", "s"], **OFF)).json()
    assert body["choices"][0]["text"] == "fir"
    assert body["choices"][0]["finish_reason"] == "stop"


async def test_max_tokens_ends_with_length(server: Setup) -> None:
    choice = (await server.complete(max_tokens=2, **OFF)).json()["choices"][0]
    assert (choice["text"], choice["finish_reason"]) == ("fi", "length")


async def test_logprobs_in_openais_form(server: Setup) -> None:
    logprobs = (await server.complete(logprobs=2, max_tokens=2, **OFF)).json()["choices"][0]["logprobs"]
    assert logprobs["tokens"] == ["f", "i"]
    assert logprobs["token_logprobs"] == [-0.5, -0.5]
    assert logprobs["text_offset"] == [0, 1]
    assert [len(top) for top in logprobs["top_logprobs"]] == [2, 2]


async def test_echo_puts_the_prompt_first(server: Setup) -> None:
    assert (await server.complete(echo=True, **OFF)).json()["choices"][0]["text"] == "hellofirst"


async def test_unknown_keys_are_named_not_refused(server: Setup) -> None:
    reply = await server.complete(cache_prompt=True, wild=1, stream_options={"odd": 1}, **OFF)
    assert reply.status_code == 200
    assert reply.headers["x-touchstone-ignored"] == "cache_prompt, wild, stream_options.odd"


@pytest.mark.parametrize(
    "neutral",
    [
        {"presence_penalty": 0, "frequency_penalty": 0.0},
        {"logit_bias": {}},
        {"logit_bias": None, "stop": None, "suffix": None, "user": "me"},
        {"repetition_penalty": 1.0, "top_k": -1, "min_tokens": 0},
        {"best_of": 1, "n": 1},
        {"echo": False, "stream": False, "rerank": None},
    ],
)
async def test_neutral_values_always_pass(server: Setup, neutral: dict[str, Any]) -> None:
    assert (await server.complete(**neutral)).status_code == 200


async def test_the_models_name_may_leave_out_its_round(server: Setup) -> None:
    assert (await server.complete(model="scripted:1m-none", **OFF)).json()["model"] == "scripted:1m-none"


async def test_the_clients_request_id_is_kept(server: Setup) -> None:
    reply = await server.complete(headers={"X-Request-Id": "mine-1"}, **OFF)
    assert reply.headers["x-request-id"] == "mine-1"


async def test_every_prompt_is_logged_before_the_reply(server: Setup) -> None:
    headers = {"X-Session-Id": "s1", "X-Purpose": "eval"}
    body = (await server.complete(["hello", "bye"], headers, **OFF)).json()
    for position, text in enumerate(["hello", "bye"]):
        key = body["id"] + (f".{position}" if position else "")
        exchange, _ = await server.parts.store.get(key)
        assert (exchange.prompt["text"], exchange.purpose, exchange.session_id) == (text, "eval", "s1")
        assert exchange.config_hash.startswith("b2:")
        assert exchange.round == 2
