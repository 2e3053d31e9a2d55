"""The official client against a real server."""

import openai
import pytest
from openai import OpenAI
from openai.types.chat import ChatCompletionMessageParam

from .conftest import Served

OFF = {"rerank": {"method": "off"}}
TESTS = {"entry_point": "one", "code": "def check(candidate):\n    assert candidate() == 1\n"}


@pytest.fixture
def client(served: Served) -> OpenAI:
    return served.openai


def test_a_plain_completion(client: OpenAI) -> None:
    reply = client.completions.create(model="scripted", prompt="hello", temperature=0, extra_body=OFF)
    assert reply.choices[0].text == "first"
    assert reply.choices[0].finish_reason == "stop"
    assert reply.usage is not None
    assert reply.usage.completion_tokens == 6


def test_a_streamed_completion(client: OpenAI) -> None:
    chunks = list(client.completions.create(model="scripted", prompt="hello", stream=True))
    assert "".join(chunk.choices[0].text for chunk in chunks) == "first"
    assert chunks[-1].choices[0].finish_reason == "stop"


def test_a_plain_chat_and_a_streamed_one(client: OpenAI) -> None:
    messages: list[ChatCompletionMessageParam] = [{"role": "user", "content": "hello"}]
    reply = client.chat.completions.create(model="scripted", messages=messages, extra_body=OFF)
    assert reply.choices[0].message.content == "first"
    stream = client.chat.completions.create(
        model="scripted", messages=messages, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == "first"
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.total_tokens == 11


@pytest.mark.isolation
def test_reranking_by_tests_in_the_body(isolated: Served) -> None:
    reply = isolated.openai.completions.create(
        model="scripted", prompt="def one():\n", extra_body={"rerank": {"tests": TESTS, "num_candidates": 4}}
    )
    assert reply.choices[0].text.strip() == "return 1"
    assert reply.model_extra is not None
    assert reply.model_extra["rerank"]["num_passing"] == 1


@pytest.mark.isolation
def test_reranking_in_a_stream(isolated: Served) -> None:
    stream = isolated.openai.completions.create(
        model="scripted", prompt="def one():\n", stream=True, extra_body={"rerank": {"tests": TESTS}}
    )
    assert "".join(chunk.choices[0].text for chunk in stream).strip() == "return 1"


def test_reranking_by_header_and_by_name(client: OpenAI) -> None:
    raw = client.completions.with_raw_response.create(
        model="scripted", prompt="hello", extra_headers={"X-Rerank": "likelihood", "X-Rerank-N": "4"}
    )
    assert raw.headers["x-rerank-status"] == "complete"
    named = client.completions.create(model="scripted+likelihood4", prompt="hello")
    for reply in (raw.parse(), named):
        assert reply.model_extra is not None
        assert (reply.model_extra["rerank"]["method"], reply.model_extra["rerank"]["num_candidates"]) == (
            "likelihood",
            4,
        )


def test_fill_in_the_middle(client: OpenAI) -> None:
    reply = client.completions.create(model="scripted", prompt="def f(x):", suffix="\n    return y\n")
    assert reply.choices[0].text == "\n    y = x"


def test_n_and_logprobs(client: OpenAI) -> None:
    reply = client.completions.create(model="scripted", prompt="hello", n=2, logprobs=1, extra_body=OFF)
    assert [choice.text for choice in reply.choices] == ["first", "second"]
    assert reply.choices[0].logprobs is not None
    assert reply.choices[0].logprobs.tokens == list("first")


def test_models_are_listed_and_found(client: OpenAI) -> None:
    names = [model.id for model in client.models.list()]
    assert names[0] == "scripted"
    assert all(client.models.retrieve(name).id == name for name in names)


def test_errors_are_the_clients_own_classes(client: OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as missing:
        client.completions.create(model="gpt-4", prompt="x")
    assert missing.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError) as bad:
        client.completions.create(model="scripted", prompt="x", frequency_penalty=1)
    assert bad.value.param == "frequency_penalty"
    with pytest.raises(openai.BadRequestError):
        list(client.completions.create(model="scripted", prompt="x" * 200_000, stream=True))
