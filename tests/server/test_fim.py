"""Filling in the middle in every dialect, with the requests that plugins send."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from engine import Scripted, ScriptedEngine
from engine.scripted import FILL

from .conftest import Serve, Setup

GAP = f"def f(x):{FILL}\n    return y\n"
SCRIPT: dict[str, list[str | Scripted]] = {
    GAP: ["\n    y = x", "\n    y = 1"],
    f"a{FILL}": ["bare"],
    f"slow{FILL}": [Scripted("x" * 50, delay_s=0.05)],
    f"lines{FILL}": [Scripted("\na = 1\nb = 2\nc" + "x" * 200, delay_s=0.012)],
    f"total = {FILL}\nprint(total)\n": ["1 + 1\nprint(total)"],
    f"f({FILL})\n": ["g()"],
}


@pytest.fixture
async def server(serve: Serve) -> AsyncIterator[Setup]:
    async with serve(engine=ScriptedEngine(SCRIPT, model_name="scripted:1m-none.r2")) as made:
        yield made


async def test_mistrals_route_and_reply(server: Setup) -> None:
    body: dict[str, Any] = {"prompt": "def f(x):", "suffix": "\n    return y\n", "random_seed": 3}
    reply = (await server.post("/v1/fim/completions", **body, max_tokens=24, temperature=0)).json()
    assert reply["object"] == "chat.completion"
    assert reply["choices"][0]["message"]["content"] == "\n    y = x"
    streamed = await server.post("/v1/fim/completions", **body, stream=True, temperature=0)
    chunks = [json.loads(line[6:]) for line in streamed.text.splitlines() if line.startswith("data: {")]
    assert "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks) == "\n    y = x"


LLAMA_VIM: dict[str, Any] = {
    "id_slot": 0,
    "input_prefix": "def",
    "input_suffix": "\n    return y\n",
    "input_extra": [{"text": "z = 1\n", "filename": "z.py"}],
    "prompt": " f(x):",
    "n_predict": 128,
    "stop": [],
    "n_indent": 0,
    "top_k": 0,
    "top_p": 0.9,
    "stream": False,
    "samplers": ["top_k", "top_p", "infill"],
    "cache_prompt": True,
    "t_max_prompt_ms": 500,
    "t_max_predict_ms": 1000,
    "response_fields": ["content", "timings/prompt_n", "timings/predicted_ms", "truncated", "tokens_cached", "none"],
}
"""As llama.vim sends it; with `top_k` 40, where the engine has it."""


async def test_infill_as_llama_vim_asks(server: Setup) -> None:
    reply = await server.post("/infill", **LLAMA_VIM)
    assert reply.status_code == 200, reply.text
    assert set(reply.json()) == {"content", "timings/prompt_n", "timings/predicted_ms", "truncated", "tokens_cached"}
    assert reply.json()["content"] in SCRIPT[GAP]
    assert reply.json()["timings/prompt_n"] > 0
    [(exchange, _)] = [logged async for logged in server.parts.store.exchanges()]  # type: ignore[attr-defined]
    assert (exchange.route, exchange.prompt["files"]) == ("infill", [["z.py", "z = 1\n"]])


async def test_infill_says_what_of_a_request_has_no_effect(server: Setup) -> None:
    reply = await server.post("/infill", **{**LLAMA_VIM, "n_indent": 4})
    told = reply.headers["x-touchstone-ignored"].split(", ")
    assert told == ["t_max_prompt_ms", "cache_prompt", "n_indent", "samplers[infill]"]
    neutral: dict[str, Any] = {
        "cache_prompt": False,
        "id_slot": -1,
        "n_keep": -1,
        "min_p": 0.0,
        "typical_p": 1.0,
        "n_probs": 0,
    }
    chain = ["penalties", "dry", "top_n_sigma", "top_k", "typ_p", "top_p", "min_p", "xtc", "temperature"]
    reply = await server.post("/infill", input_prefix="a", **neutral, samplers=chain, t_max_predict_ms=-1)
    assert (reply.status_code, reply.headers.get("x-touchstone-ignored")) == (200, None)


@pytest.mark.parametrize(
    ("samplers", "counts"),
    [(None, (0.25, 0.5)), (["top_p", "infill"], (0.0, 0.5)), (["top_p"], (1.0, 0.5)), (["temperature"], (0.25, 1.0))],
)
async def test_infill_samples_by_the_samplers_that_are_named(
    server: Setup, samplers: list[str] | None, counts: tuple[float, float]
) -> None:
    body = {**LLAMA_VIM, "temperature": 0.25, "top_p": 0.5, "samplers": samplers}
    reply = await server.post("/infill", **body)
    assert reply.status_code == 200
    ignored = reply.headers["x-touchstone-ignored"].split(", ")
    assert ("temperature" in ignored, "top_p" in ignored) == (counts[0] != 0.25, counts[1] != 0.5)
    [(exchange, _)] = [logged async for logged in server.parts.store.exchanges()]  # type: ignore[attr-defined]
    sampling = exchange.options["sampling"]
    assert (sampling["temperature"], sampling["top_p"]) == counts


async def test_infill_several_at_once_as_llama_vscode_asks(server: Setup) -> None:
    several = (await server.post("/infill", **{**LLAMA_VIM, "n_cmpl": 2, "response_fields": None})).json()
    assert [each["content"] for each in several] == SCRIPT[GAP]
    assert [each["index"] for each in several] == [0, 1]
    assert several[0]["stop_type"] == "eos"
    assert several[0]["timings"]["predicted_n"] == len("\n    y = x") + 1


async def test_infill_gives_what_there_is_when_its_time_is_over(server: Setup) -> None:
    slow = (await server.post("/infill", input_prefix="slow", t_max_predict_ms=300)).json()
    assert 0 < len(slow["content"]) < 50
    assert slow["stop_type"] == "limit"
    lines = (await server.post("/infill", input_prefix="lines", t_max_predict_ms=300)).json()
    assert lines["content"] == "\na = 1\nb = 2"  # not the line that was being written


async def test_infill_gives_nothing_when_its_time_is_over_before_its_turn(serve: Serve) -> None:
    async with serve(engine=ScriptedEngine(SCRIPT, max_running=1)) as server:
        first = asyncio.create_task(server.post("/infill", input_prefix="slow"))
        await asyncio.sleep(0.2)
        body = {"input_prefix": "a", "t_max_predict_ms": 50}
        one = await server.client.post("/infill", json={**body, "response_fields": ["content"]})
        two = await server.client.post("/infill", json={**body, "n_cmpl": 2})
        assert (one.status_code, one.json()) == (200, {"content": ""})
        assert [(each["content"], each["stop"]) for each in two.json()] == [("", True)]
        await first


async def test_infill_streams_in_llama_cpps_words(server: Setup) -> None:
    for body in ({"stream": True}, {"stream": True, "rerank": {"method": "likelihood", "num_candidates": 2}}):
        reply = await server.post("/infill", **{**LLAMA_VIM, **body, "response_fields": None})
        assert reply.headers["content-type"].startswith("text/event-stream")
        events = [json.loads(line[6:]) for line in reply.text.splitlines() if line.startswith("data: ")]
        assert [event["stop"] for event in events] == [False] * (len(events) - 1) + [True]
        assert "".join(event["content"] for event in events) in SCRIPT[GAP]
        assert events[-1]["timings"]["predicted_n"] == len("\n    y = x") + 1


async def test_infill_that_fills_a_cache_samples_nothing(server: Setup) -> None:
    body = {**LLAMA_VIM, "prompt": "", "n_predict": 0, "samplers": [], "t_max_predict_ms": 1, "response_fields": [""]}
    assert (await server.post("/infill", **body)).json() == {}
    streamed = await server.post("/infill", **{**body, "stream": True, "response_fields": ["content", "stop"]})
    assert streamed.text == 'data: {"content":"","stop":true}\n\n'
    assert [logged async for logged in server.parts.store.exchanges()] == []  # type: ignore[attr-defined]


async def test_llama_cpps_clients_ask_for_props(server: Setup) -> None:
    props = (await server.client.get("/props")).json()
    assert props["default_generation_settings"]["n_ctx"] == 100_000
    assert (props["model_alias"], props["model_path"], props["fim"]) == (*["scripted:1m-none.r2"] * 2, "scripted")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("n_probs", 3),
        ("n_cmpl", 0),
        ("input_extra", [{}]),
        ("min_p", 0.05),
        ("typical_p", 0.9),
        ("n_keep", 5),
        ("samplers", ["top_k", "min_p"]),
        ("samplers", ["mirostat"]),
        ("samplers", "kp"),
    ],
)
async def test_infill_refuses_by_name(server: Setup, field: str, value: object) -> None:
    reply = await server.post("/infill", **{**LLAMA_VIM, field: value})
    assert reply.status_code == 400
    assert reply.json()["error"]["param"].startswith(field)


TABBY: dict[str, Any] = {
    "language": "python",
    "segments": {
        "prefix": "def f(x):",
        "suffix": "\n    return y\n",
        "filepath": "f.py",
        "git_url": "git@example.org:a/b.git",
        "declarations": [{"filepath": "d.py", "body": "def d(): ..."}],
        "relevant_snippets_from_changed_files": [{"filepath": "c.py", "body": "c = 1", "score": 0.5}],
        "clipboard": "",
    },
    "user": "somebody",
    "temperature": 0,
    "mode": "standard",
}


async def test_tabbys_client_asks_is_answered_and_tells(server: Setup) -> None:
    health = (await server.client.get("/v1/health")).json()
    assert health["model"] == "scripted:1m-none.r2"
    assert health["version"]["git_describe"].startswith("v")
    reply = await server.post("/v1/completions", **TABBY)
    ignored = "language, mode, segments.git_url, segments.relevant_snippets_from_changed_files[].score"
    assert reply.headers["x-touchstone-ignored"] == ignored
    answer = reply.json()
    assert [(each["index"], each["text"]) for each in answer["choices"]] == [(0, "\n    y = x")]
    exchange, _ = await server.parts.store.get(answer["id"])
    assert (exchange.prompt["files"], exchange.prompt["path"]) == (
        [["c.py", "c = 1"], ["d.py", "def d(): ..."]],
        "f.py",
    )
    event = {"completion_id": answer["id"], "choice_index": 0, "view_id": "view-1"}
    for type_ in ("view", "select", "select", "other"):
        said = await server.post("/v1/events", **event, type=type_, select_kind="line", elapsed=830)
        assert (said.status_code, said.content) == (200, b"")
    _, [signal] = await server.parts.store.get(answer["id"])
    assert (signal.type, signal.source, signal.partial, signal.elapsed_ms) == ("accept", "tabby", "line", 830)
    await server.post("/v1/events", **event, type="dismiss")
    assert [each.type for each in (await server.parts.store.get(answer["id"]))[1]] == ["accept", "reject"]
    metrics = (await server.client.get("/metrics")).text
    assert "touchstone_suggestions_shown_total 1.0" in metrics
    assert "touchstone_suggestions_accepted_total 1.0" in metrics
    unknown = await server.post("/v1/events", type="select", completion_id="cmpl-nobody", choice_index=0)
    assert unknown.status_code == 404


async def test_segments_and_prompt_together_are_refused(server: Setup) -> None:
    reply = await server.post("/v1/completions", **TABBY, prompt="x")
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, "segments")
    reply = await server.post("/v1/completions", model="scripted")
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, "prompt")


@pytest.mark.parametrize(
    ("prompt", "said"),
    [
        ("<fim_prefix>def f(x):<fim_suffix>\n    return y\n<fim_middle>", "starcoder2->scripted"),
        ("<PRE> def f(x): <SUF>\n    return y\n <MID>", "codellama->scripted"),
        ("<|fim_prefix|> def f(x): <|fim_suffix|> \n    return y\n <|fim_middle|>", "qwen2.5-coder->scripted"),
    ],
)
async def test_a_layout_in_the_prompt_is_put_into_the_models_own(server: Setup, prompt: str, said: str) -> None:
    reply = await server.complete(prompt, temperature=0)
    assert reply.json()["choices"][0]["text"] == "\n    y = x"
    assert reply.headers["x-fim-normalized"] == said
    raw = await server.complete(prompt, fim="raw", rerank={"method": "off"})
    assert "x-fim-normalized" not in raw.headers
    assert raw.json()["choices"][0]["text"] == ""


@pytest.mark.parametrize(
    "body",
    [
        {"n_predict": 3},
        {"max_new_tokens": 3},
        {"options": {"num_predict": 3, "temperature": 0}, "keep_alive": "5m"},
        {"max_tokens": 3, "n_predict": 9},
    ],
)
async def test_other_clients_words_for_max_tokens(server: Setup, body: dict[str, Any]) -> None:
    reply = await server.complete("def f(x):", suffix="\n    return y\n", **body)
    assert reply.json()["choices"][0]["text"] == "\n    y = x"[:3]
    assert reply.headers.get("x-touchstone-ignored", "keep_alive") == "keep_alive"


async def test_what_repeats_the_suffix_is_taken_off(server: Setup) -> None:
    reply = await server.complete("total = ", suffix="\nprint(total)\n")
    assert reply.json()["choices"][0]["text"] == "1 + 1"
    bracket = await server.complete("f(", suffix=")\n")
    assert bracket.json()["choices"][0]["text"] == "g()"


async def test_a_model_without_a_layout_says_so(serve: Serve) -> None:
    class Plain(ScriptedEngine):
        @property
        def info(self) -> Any:
            from dataclasses import replace

            return replace(super().info, fim=None)

    async with serve(engine=Plain({"<fim_prefix>a<fim_suffix>b<fim_middle>": ["as it is"]})) as server:
        for path, body in (("/infill", LLAMA_VIM), ("/v1/completions", TABBY)):
            assert (await server.post(path, **body)).status_code == 400
        reply = await server.complete("<fim_prefix>a<fim_suffix>b<fim_middle>", rerank={"method": "off"})
        assert reply.json()["choices"][0]["text"] == "as it is"
