"""What plugins send, unchanged: each gets 200 and the completion of the very gap that it means."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engine import EngineInfo, Event, GenerationRequest, ScriptedEngine
from engine.scripted import FILL

from .conftest import Serve, Setup

SHAPES = json.loads((Path(__file__).parent / "plugins.json").read_text(encoding="utf-8"))
SCRIPT = {SHAPES["prefix"] + FILL + SHAPES["suffix"]: [SHAPES["middle"]], SHAPES["question"]: [SHAPES["answer"]]}


class WithTopK(ScriptedEngine):
    """The scripted engine, which takes `top_k` too, as engines with a vocabulary do; it has no use for it."""

    @property
    def info(self) -> EngineInfo:
        known = super().info
        return replace(known, honours=known.honours | {"top_k"})

    async def generate(self, request: GenerationRequest) -> AsyncIterator[Event]:  # type: ignore[override]
        async for event in super().generate(replace(request, sampling=replace(request.sampling, top_k=0))):
            yield event


@pytest.fixture
async def server(serve: Serve) -> AsyncIterator[Setup]:
    engine = WithTopK(SCRIPT, otherwise=["not what was meant"], model_name=f"{SHAPES['model']}.r0")
    async with serve(engine=engine) as made:
        yield made


def text_of(path: str, reply: Any) -> str:
    """The text of a reply, of any dialect."""
    if path == "/infill":
        return str((reply[0] if isinstance(reply, list) else reply)["content"])
    choice = reply["choices"][0]
    return str(choice["text"] if "text" in choice else choice["message"]["content"])


def streamed_text(text: str) -> str:
    """The text of a stream, as OpenAI's clients read it."""
    events = [line[6:] for line in text.splitlines() if line.startswith("data: ")]
    assert events[-1] == "[DONE]"
    choices = [choice for event in events[:-1] for choice in json.loads(event)["choices"]]
    return "".join(choice.get("text") or choice.get("delta", {}).get("content") or "" for choice in choices)


@pytest.mark.parametrize("shape", SHAPES["requests"], ids=lambda shape: shape["client"])
async def test_a_plugins_request_is_answered_as_it_is_meant(server: Setup, shape: dict[str, Any]) -> None:
    reply = await server.client.post(shape["path"], json=shape["body"], headers=shape["headers"])
    assert reply.status_code == 200, reply.text
    stream = shape["body"].get("stream") is True
    text = streamed_text(reply.text) if stream else text_of(shape["path"], reply.json())
    assert text == SHAPES["answer" if "chat" in shape["path"] else "middle"]
