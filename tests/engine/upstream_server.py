"""A small real upstream: the OpenAI routes over a `ScriptedEngine`, served by uvicorn from a thread of its own."""

from __future__ import annotations

import json
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from engine.scripted import ScriptedEngine
from engine.types import (
    Chat,
    Fim,
    Finished,
    GenerationRequest,
    Message,
    Prompt,
    Sampling,
    Started,
    Text,
    TextPiece,
    TokenIds,
    TokenLogprob,
)

KEY = "sk-upstream-secret"
CONTEXT = 500


@dataclass
class Upstream:
    """The server's side: what it answers with and what it saw."""

    engine: ScriptedEngine
    url: str = ""
    bodies: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    """Of the requests that `bodies` has."""
    broken: str = ""
    """How to misbehave: "status 500", "status 429", "breaks off", "error event", "not json"."""

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/v1/models", self.models),
                Route("/v1/completions", self.completions, methods=["POST"]),
                Route("/v1/chat/completions", self.completions, methods=["POST"]),
            ]
        )

    async def models(self, request: Request) -> Response:
        if request.headers.get("authorization") != f"Bearer {KEY}":
            return refuse(401, "no such key")
        return JSONResponse({"data": [{"id": "scripted", "max_model_len": CONTEXT}]})

    async def completions(self, request: Request) -> Response:
        body = await request.json()
        self.bodies.append(body)
        self.headers.append(dict(request.headers))
        if self.broken.startswith("status"):
            return Response(status_code=int(self.broken.split()[1]), content="broken", headers={"Retry-After": "7"})
        if len(str(body.get("prompt"))) > CONTEXT:
            return refuse(400, f"This model's maximum context length is {CONTEXT} tokens")
        if "best_of" in body or "suffix" in body:
            return refuse(400, "suffix is not supported", param="suffix")
        if body.get("echo"):
            return await self.echo(body)
        return StreamingResponse(self.stream(body), media_type="text/event-stream")

    async def echo(self, body: dict[str, Any]) -> Response:
        """Score as this script would: the whole text's characters at the default value."""
        text = body["prompt"]
        start = next((at for at in range(len(text)) if self.known(text[:at])), 0)
        scored = (await self.engine.score(Text(text[:start]), [text[start:]]))[0].tokens
        values = [None, *[-9.0] * (start - 1)][:start] + [token.logprob for token in scored]
        logprobs = {"tokens": list(text), "token_logprobs": values, "text_offset": list(range(len(text)))}
        return JSONResponse({"choices": [{"index": 0, "text": text, "logprobs": logprobs}]})

    def known(self, prompt: str) -> bool:
        return prompt in ("say", "one", "slow")

    async def stream(self, body: dict[str, Any]) -> AsyncIterator[str]:
        chat = "messages" in body
        request = GenerationRequest(id="up", prompt=prompt_of(body), sampling=sampling_of(body), n=body.get("n", 1))
        sent = 0
        async with aclosing(self.engine.generate(request)) as events:
            async for event in events:
                if isinstance(event, Started):
                    continue
                yield chunk(event, chat)
                sent += 1
                if sent == 3 and self.broken == "breaks off":
                    return
                if sent == 3 and self.broken == "error event":
                    yield 'data: {"error": {"message": "out of memory"}}\n\n'
                    return
                if sent == 3 and self.broken == "not json":
                    yield "data: {oops\n\n"
        yield 'data: {"choices": [], "usage": {"prompt_tokens": 3}}\n\ndata: [DONE]\n\n'


def prompt_of(body: dict[str, Any]) -> Prompt:
    if "messages" in body:
        return Chat(tuple(Message(turn["role"], turn["content"]) for turn in body["messages"]))
    if "suffix" in body:
        return Fim(body["prompt"], body["suffix"])
    prompt = body["prompt"]
    return Text(prompt) if isinstance(prompt, str) else TokenIds(tuple(prompt))


def sampling_of(body: dict[str, Any]) -> Sampling:
    logprobs = body.get("top_logprobs", body.get("logprobs"))
    return replace(
        Sampling(),
        temperature=body["temperature"],
        max_tokens=body["max_tokens"],
        stop=tuple(body.get("stop", ())),
        seed=body.get("seed"),
        logprobs=logprobs if isinstance(logprobs, int) and logprobs > 0 else None,
    )


def chunk(event: TextPiece | Finished, chat: bool) -> str:
    """As OpenAI sends it; a finished candidate is an empty chunk with its reason."""
    text, tokens = (event.text, event.tokens) if isinstance(event, TextPiece) else ("", ())
    reason = event.finish_reason if isinstance(event, Finished) else None
    choice: dict[str, Any] = {"index": event.candidate, "finish_reason": reason}
    if chat:
        choice |= {"delta": {"content": text}, "logprobs": {"content": [chat_entry(token) for token in tokens]}}
    else:
        logprobs = {
            "tokens": [token.text for token in tokens],
            "token_logprobs": [token.logprob for token in tokens],
            "top_logprobs": [dict(reversed(token.top)) for token in tokens],
        }
        choice |= {"text": text, "logprobs": logprobs}
    return f"data: {json.dumps({'choices': [choice]})}\n\n"


def chat_entry(token: TokenLogprob) -> dict[str, Any]:
    tops = [{"token": text, "logprob": value} for text, value in token.top]
    return {"token": token.text, "logprob": token.logprob, "bytes": list(token.text.encode()), "top_logprobs": tops}


def refuse(status: int, message: str, **more: str) -> Response:
    return JSONResponse({"error": {"message": message, "type": "invalid_request_error", **more}}, status)


@contextmanager
def serve(app: Any) -> Iterator[str]:
    """Run an ASGI app on a free loopback port; the address without a path."""
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error", lifespan="off"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        thread.join(0.01)
        assert thread.is_alive(), "the upstream did not start"
    try:
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(10)
