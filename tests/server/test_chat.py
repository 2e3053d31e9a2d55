"""`POST /v1/chat/completions`, plain."""

from typing import Any

from .conftest import Setup

OFF: dict[str, Any] = {"rerank": {"method": "off"}}


async def test_a_plain_chat_has_openais_shape(server: Setup) -> None:
    body = (await server.chat(**OFF)).json()
    assert body["object"] == "chat.completion"
    [choice] = body["choices"]
    assert choice["message"] == {"role": "assistant", "content": "first", "refusal": None}
    assert choice["finish_reason"] == "stop"
    assert choice["logprobs"] is None


async def test_content_may_come_in_parts(server: Setup) -> None:
    parts = [{"type": "text", "text": "hel"}, {"type": "text", "text": "lo"}]
    messages = [{"role": "system", "content": "be brief"}, {"role": "user", "content": parts}]
    body = (await server.post("/v1/chat/completions", messages=messages, **OFF)).json()
    assert body["choices"][0]["message"]["content"] == "first"
    exchange, _ = await server.parts.store.get(body["id"])
    assert exchange.prompt["kind"] == "chat"
    assert exchange.route == "chat"


async def test_logprobs_in_openais_chat_form(server: Setup) -> None:
    body = (await server.chat(logprobs=True, top_logprobs=2, max_completion_tokens=1, **OFF)).json()
    [token] = body["choices"][0]["logprobs"]["content"]
    assert (token["token"], token["bytes"]) == ("f", [102])
    assert len(token["top_logprobs"]) == 2
    bare = (await server.chat(logprobs=True, max_tokens=1, **OFF)).json()
    assert bare["choices"][0]["logprobs"]["content"][0]["top_logprobs"] == []


async def test_what_asks_for_nothing_passes(server: Setup) -> None:
    neutral: dict[str, Any] = {
        "tools": [],
        "tool_choice": "auto",
        "response_format": {"type": "text"},
        "modalities": ["text"],
    }
    assert (await server.chat(**neutral, **OFF)).status_code == 200


async def test_the_default_number_of_tokens_is_256(server: Setup) -> None:
    body = (await server.chat(**OFF)).json()
    exchange, _ = await server.parts.store.get(body["id"])
    assert exchange.options["sampling"]["max_tokens"] == 256
