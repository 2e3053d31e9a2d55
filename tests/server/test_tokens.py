"""What a real tokenizer does behind the routes: `/tokenize`, `/detokenize`, and gaps cut to the context."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from engine import ScriptedEngine, Tokenizer
from tests.engine.test_fim import family
from tests.engine.test_tokens import in_memory

from .conftest import Serve, Setup


class WithTokenizer(ScriptedEngine):
    """The scripted engine with a tokenizer of single bytes."""

    def __init__(self, tokenizer: Tokenizer, **what: Any) -> None:
        super().__init__(lambda prompt: [f"{len(prompt)}"], **what)
        self.tokenizer = tokenizer


async def test_a_text_and_back(serve: Serve, tmp_path: Path) -> None:
    async with serve(engine=WithTokenizer(family("deepseek-coder", tmp_path / "made")[0])) as server:
        body = (await server.post("/tokenize", prompt="d\u00e9f", return_token_strs=True)).json()
        assert (body["count"], len(body["tokens"]), body["max_model_len"]) == (5, 5, 100_000)
        assert (body["token_strs"][0], body["token_strs"][1]) == ("", "d")
        bare = (await server.post("/tokenize", prompt="d\u00e9f", add_special_tokens=False)).json()
        assert (bare["tokens"], bare["token_strs"]) == (body["tokens"][1:], None)
        back = await server.post("/detokenize", tokens=body["tokens"], odd=1)
        assert back.json() == {"prompt": "d\u00e9f"}
        assert back.headers["x-touchstone-ignored"] == "odd"


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("/tokenize", {}, "prompt"),
        ("/tokenize", {"messages": [{"role": "user", "content": "x"}]}, "messages"),
        ("/tokenize", {"prompt": "x", "tools": [1]}, "tools"),
        ("/tokenize", {"prompt": "x", "model": "other"}, "model"),
        ("/detokenize", {"tokens": [10**6]}, "tokens"),
        ("/detokenize", {"tokens": "x"}, "tokens"),
    ],
)
async def test_what_cannot_be_is_named(serve: Serve, path: str, body: dict[str, Any], param: str) -> None:
    async with serve(engine=WithTokenizer(in_memory("byte_level"))) as server:
        reply = await server.post(path, **body)
        assert (reply.status_code in (400, 404), reply.json()["error"]["param"]) == (True, param)


async def test_an_engine_without_a_tokenizer_refuses(server: Setup) -> None:
    assert (await server.post("/tokenize", prompt="x")).json()["error"]["param"] == "model"


PREFIX, SUFFIX = "a = 1\n" * 100, "b = 2\n" * 100


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/infill", {"input_prefix": PREFIX, "input_suffix": SUFFIX, "input_extra": [{"filename": "x", "text": "x"}]}),
        ("/v1/completions", {"prompt": PREFIX, "suffix": SUFFIX}),
        ("/v1/completions", {"segments": {"prefix": PREFIX, "suffix": SUFFIX}}),
        ("/v1/completions", {"prompt": f"<fim_prefix>{PREFIX}<fim_suffix>{SUFFIX}<fim_middle>", "stream": True}),
        ("/v1/fim/completions", {"prompt": PREFIX, "suffix": SUFFIX}),
    ],
)
async def test_a_gap_too_long_is_cut_and_says_so(serve: Serve, tmp_path: Path, path: str, body: dict[str, Any]) -> None:
    tokenizer = family("qwen2.5-coder", tmp_path / "made")[0]
    async with serve(engine=WithTokenizer(tokenizer, context_length=600)) as server:
        reply = await server.post(path, **body)
        assert reply.status_code == 200, reply.text
        assert reply.headers["x-fim-truncated"] == ("files, prefix, suffix" if path == "/infill" else "prefix, suffix")
        if path == "/infill":
            assert reply.json()["truncated"] is True
        [(exchange, _)] = [logged async for logged in server.parts.store.exchanges()]  # type: ignore[attr-defined]
        # What the model read is logged as the prompt, what is around the gap as the task.
        assert PREFIX.endswith(exchange.prompt["prefix"])
        assert 250 < len(exchange.prompt["prefix"]) < 600 - 128
        assert exchange.task["prefix"] == PREFIX
        short = await server.post("/v1/completions", prompt="a", suffix="b")
        assert "x-fim-truncated" not in short.headers
        greedy = await server.post(path, **body, max_tokens=9999, n_predict=9999)
        assert greedy.status_code == 200
    async with serve(engine=WithTokenizer(tokenizer, context_length=4)) as server:
        assert (await server.post(path, **body)).status_code == 400
