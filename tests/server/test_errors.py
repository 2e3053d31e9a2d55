"""Errors: OpenAI's JSON for everything, the field named, no 5xx for bad input."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from engine import Engine, EngineInfo, Overloaded, ScriptedEngine
from feedback import Exchange, InMemoryStore, StoreFailed
from server import Config
from server.build import build

from .conftest import Serve, Setup


def error_of(reply: httpx.Response) -> dict[str, Any]:
    error = reply.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["message"]
    assert isinstance(error, dict)
    return error


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"prompt": 3}, "prompt: Input should be a valid string, or a valid array"),
        ({"prompt": [1.5]}, "prompt[0]: Input should be a valid integer, or a valid string, or a valid array"),
        ({"prompt": ["a", 2]}, "prompt[1]: Input should be a valid string"),
        ({"prompt": [[1, "b"]]}, "prompt[0][1]: Input should be a valid integer"),
        ({"prompt": "x", "stop": [3]}, "stop[0]: Input should be a valid string"),
        ({"prompt": "x", "n": "a", "stop": 3}, "n: Input should be a valid integer"),
    ],
)
async def test_what_a_field_of_several_forms_wants_is_told(server: Setup, body: dict[str, Any], message: str) -> None:
    reply = await server.post("/v1/completions", **body)
    assert error_of(reply)["message"].startswith(message)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "prompt"),
        ({"prompt": 3}, "prompt"),
        ({"prompt": []}, "prompt"),
        ({"prompt": [[]]}, "prompt"),
        ({"prompt": [-1]}, "prompt"),
        ({"prompt": "x", "n": 0}, "n"),
        ({"prompt": "x", "n": "many"}, "n"),
        ({"prompt": "x", "n": 1000}, "n"),
        ({"prompt": "x", "temperature": 3}, "temperature"),
        ({"prompt": "x", "top_p": 0}, "top_p"),
        ({"prompt": "x", "max_tokens": 0}, "max_tokens"),
        ({"prompt": "x", "max_tokens": 10**30}, "max_tokens"),
        ({"prompt": "x", "stop": ""}, "stop"),
        ({"prompt": "x", "stop": ["a", ""]}, "stop"),
        ({"prompt": "x", "stream": "yes"}, "stream"),
        ({"prompt": "x", "logprobs": 6}, "logprobs"),
        ({"prompt": "x", "presence_penalty": 0.5}, "presence_penalty"),
        ({"prompt": "x", "frequency_penalty": 0.5}, "frequency_penalty"),
        ({"prompt": "x", "logit_bias": {"1": 5}}, "logit_bias"),
        ({"prompt": "x", "logit_bias": {"one": 5}}, "logit_bias"),
        ({"prompt": "x", "top_k": 5}, "top_k"),
        ({"prompt": [1], "suffix": "y"}, "suffix"),
        ({"prompt": "x", "echo": True, "logprobs": 1}, "echo"),
        ({"prompt": ["x", "y"], "rerank": {"tests": {"code": "assert f()"}}}, "rerank.tests"),
        ({"prompt": "x" * 200_000}, "prompt"),
        ({"prompt": "x", "seed": 10**30}, "seed"),
        ({"prompt": "x", "rerank": {"deadline_ms": 1e300}}, "rerank.deadline_ms"),
    ],
)
async def test_bad_completions_are_400_and_name_the_field(server: Setup, body: dict[str, Any], param: str) -> None:
    reply = await server.post("/v1/completions", **body)
    assert reply.status_code == 400, reply.text
    error = error_of(reply)
    assert error["type"] == "invalid_request_error"
    assert error["param"] == param


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"messages": []}, "messages"),
        ({"messages": "hi"}, "messages"),
        ({"messages": [{"content": "hi"}]}, "messages[0].role"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]},
            "messages[0].content[0]",
        ),
        ({"messages": [{"role": "assistant", "tool_calls": [{}]}]}, "messages[0].tool_calls"),
        ({"tools": [{"type": "function"}]}, "tools"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"top_logprobs": 2}, "top_logprobs"),
        ({"logprobs": True, "top_logprobs": 9}, "top_logprobs"),
        ({"max_completion_tokens": 0}, "max_completion_tokens"),
    ],
)
async def test_bad_chats_are_400_and_name_the_field(server: Setup, body: dict[str, Any], param: str) -> None:
    reply = await server.post("/v1/chat/completions", **{"messages": [{"role": "user", "content": "x"}], **body})
    assert reply.status_code == 400, reply.text
    assert error_of(reply)["param"] == param


async def test_a_suffix_needs_a_model_that_can(serve: Serve) -> None:
    async with serve(engine=without_fim()) as server:
        reply = await server.complete(suffix="tail")
        assert reply.status_code == 400
        assert error_of(reply)["param"] == "suffix"
        assert (await server.complete(suffix="")).status_code == 200


@pytest.mark.parametrize("body", [b"{", b"", b"[1]", b'"x"', b'{"prompt": "\\ud800"}', b"\xff\xfe"])
async def test_a_body_that_is_no_json_object_is_400(server: Setup, body: bytes) -> None:
    reply = await server.client.post("/v1/completions", content=body)
    assert reply.status_code == 400
    error_of(reply)


async def test_unknown_routes_methods_and_models(server: Setup) -> None:
    assert error_of(await server.client.get("/v2/nothing"))["code"] == "unknown_url"
    wrong = await server.client.get("/v1/completions")
    assert (wrong.status_code, error_of(wrong)["code"]) == (405, "method_not_allowed")
    assert wrong.headers["allow"] == "POST"
    for model in ("gpt-4", "scripted:1m-none.r3", "scripted:1m-none.r2+nothing", "scripted:1m-none.r2+off3"):
        reply = await server.complete(model=model)
        assert (reply.status_code, error_of(reply)["code"]) == (404, "model_not_found")


async def test_a_large_body_is_413_before_it_is_read(serve: Serve) -> None:
    async with serve(server={"body_limit_bytes": 2048}) as server:
        reply = await server.complete("x" * 5000)
        assert (reply.status_code, error_of(reply)["code"]) == (413, "body_too_large")


async def test_an_overloaded_engine_is_429_with_a_hint(serve: Serve) -> None:
    def full(_: str) -> list[str]:
        raise Overloaded(3.2)

    async with serve(engine=ScriptedEngine(full)) as server:
        reply = await server.complete()
        assert (reply.status_code, reply.headers["retry-after"]) == (429, "4")
        assert error_of(reply)["type"] == "rate_limit_error"


async def test_a_defect_is_500_without_its_words(serve: Serve) -> None:
    def broken(_: str) -> list[str]:
        raise RuntimeError("secret")

    async with serve(engine=ScriptedEngine(broken)) as server:
        reply = await server.complete()
        assert reply.status_code == 500
        assert "secret" not in reply.text
        assert error_of(reply)["code"] == "internal_error"


async def test_an_exchange_that_cannot_be_stored_fails_the_request(serve: Serve) -> None:
    store = InMemoryStore()
    await store.aclose()
    async with serve(store=store) as server:
        reply = await server.complete()
        assert (reply.status_code, error_of(reply)["code"]) == (503, "store_failed")


@pytest.mark.parametrize(
    "headers",
    [{"X-Purpose": "spam"}, {"X-Session-Id": "with space"}, {"X-Rerank-N": "-1"}, {"X-Rerank-Deadline-Ms": "x"}],
)
async def test_bad_headers_are_400_and_named(server: Setup, headers: dict[str, str]) -> None:
    reply = await server.complete(headers=headers)
    assert reply.status_code == 400
    assert error_of(reply)["param"] == next(iter(headers))


def without_fim() -> Engine:
    """The scripted engine, less its gift for the middle."""

    class WithoutFim(ScriptedEngine):
        @property
        def info(self) -> EngineInfo:
            return replace(super().info, fim=None)

    return WithoutFim({})


async def test_a_log_that_cannot_be_written_is_told_the_client_and_the_operator(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    class Full(InMemoryStore):
        async def record(self, exchange: Exchange) -> None:
            raise StoreFailed("the database failed: database or disk is full")

    async with serve(store=Full()) as server:
        reply = await server.complete("hello")
    assert (reply.status_code, error_of(reply)["code"], reply.headers["retry-after"]) == (503, "store_failed", "1")
    assert "the log cannot be written: the database failed: database or disk is full" in caplog.text


async def test_a_state_folder_that_cannot_be_made_is_named() -> None:
    with pytest.raises(StoreFailed, match="state_dir: cannot make /proc/nowhere: No such file"):
        await build(Config(state_dir=Path("/proc/nowhere")))
