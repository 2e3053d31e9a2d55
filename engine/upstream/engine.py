"""`UpstreamEngine`: the port over another server's `/v1/completions` and `/v1/chat/completions`.

Not covered: token ids (upstreams name tokens by their text), and an exact prompt length before the reply is over. It
never retries a request; only the set-up of a connection is tried again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import httpx

from engine.admission import refuse_over, refuse_prompt, refuse_unsupported
from engine.errors import EngineFailed, UnsupportedField
from engine.passed_on import PASSED_ON
from engine.turns import TakesTurns, Turns
from engine.types import (
    EngineInfo,
    Event,
    FinishReason,
    GenerationRequest,
    Prompt,
    ScoredCompletion,
    Started,
    Text,
)
from engine.upstream.growing import Growing
from engine.upstream.seam import in_stream, refusal, translated
from engine.upstream.wire import (
    body_of,
    completion_tokens,
    deltas_of,
    estimate_tokens,
    parse_chunk,
    path_of,
    prompt_fields,
)

UNKNOWN_CONTEXT = 2**20
"""Stands for the context length where the upstream does not say it; the upstream itself refuses what is too long."""
_HONOURS = frozenset({"frequency_penalty", "logit_bias", "logprobs", "presence_penalty", "seed"})
_BEYOND_OPENAI = frozenset({"top_k", "min_tokens", "repetition_penalty"})


class UpstreamEngine(TakesTurns):
    """See `Engine`. Make it with `load`."""

    def __init__(self, client: httpx.AsyncClient, info: EngineInfo, *, max_running: int, max_waiting: int) -> None:
        self._client = client
        self._info = info
        self._turns = Turns(max_running=max_running, max_waiting=max_waiting)
        self._closing = asyncio.Event()

    @property
    def info(self) -> EngineInfo:
        """What this engine is; constant."""
        return self._info

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[Event, None]:
        """See `Engine.generate`. `prompt_tokens` is an estimate where the first chunk does not say it."""
        refuse_unsupported(self._info, request)
        refuse_over(request, estimate_tokens(request.prompt), "about ")
        queue_s = await self._turns.enter(request)
        try:
            async with aclosing(self._events(request, queue_s)) as events:
                async for event in events:
                    yield event
        finally:
            self._turns.leave()

    async def score(self, prompt: Prompt, completions: Sequence[str]) -> list[ScoredCompletion]:
        """See `Engine.score`. Raises `UnsupportedField` where the upstream cannot echo a prompt with its values."""
        refuse_prompt(self._info, prompt)
        if not isinstance(prompt, Text):
            raise UnsupportedField("prompt", "an upstream scores text only")
        return [await self._score(prompt.text, completion) for completion in completions]

    async def aclose(self) -> None:
        """End what runs and what waits as cancelled; close the connections."""
        self._closing.set()
        self._turns.close()
        await self._client.aclose()

    async def _events(self, request: GenerationRequest, queue_s: float) -> AsyncGenerator[Event, None]:
        greedy = request.sampling.temperature == 0  # asked once: some upstreams refuse n > 1 without sampling
        n, width = (1, request.n) if greedy else (request.n, 1)
        rows = [Growing(range(at * width, (at + 1) * width), request.sampling.max_tokens) for at in range(n)]
        started = Started(estimate_tokens(request.prompt), queue_s)
        if not request.sampling.max_tokens or self._stopped(request):
            yield started
            for event in _end_all(rows, "cancelled" if self._stopped(request) else "length"):
                yield event
            return
        alternatives = request.sampling.logprobs or 0
        body = body_of(request, self._info.model, n=n, logprobs=self._info.max_logprobs > 0)
        async with aclosing(self._chunks(request, body)) as chunks:
            first = True
            async for chunk in chunks:
                if first:
                    exact = (chunk.get("usage") or {}).get("prompt_tokens")
                    yield replace(started, prompt_tokens=exact) if exact else started
                    first = False
                for delta in deltas_of(chunk, alternatives):
                    if not 0 <= delta.candidate < n:
                        raise EngineFailed("the upstream sent a candidate that was not asked for")
                    for event in rows[delta.candidate].push(delta) if not rows[delta.candidate].over else ():
                        yield event
        if first:
            yield started
        if not self._stopped(request) and not all(row.over for row in rows):
            raise EngineFailed("the upstream ended before its candidates did")
        for event in _end_all(rows, "cancelled"):
            yield event

    def _stopped(self, request: GenerationRequest) -> bool:
        return self._turns.closed or (request.deadline is not None and time.monotonic() >= request.deadline)

    async def _chunks(self, request: GenerationRequest, body: dict[str, Any]) -> AsyncGenerator[dict[str, Any], None]:
        """The reply's chunks until it ends, the deadline passes or the engine closes. Leaving it closes the reply."""
        lines = self._lines(path_of(request.prompt), body)
        closing = asyncio.ensure_future(self._closing.wait())
        try:
            with translated():
                while (line := await _before(closing, lines, request.deadline)) is not None:
                    if line.startswith("data:"):
                        data = line.removeprefix("data:").strip()
                        if data == "[DONE]":
                            return
                        chunk = parse_chunk(data)
                        if chunk.get("error") or chunk.get("object") == "error":
                            raise in_stream(chunk.get("error") or chunk)
                        yield chunk
        finally:
            closing.cancel()
            await lines.aclose()

    async def _lines(self, path: str, body: dict[str, Any]) -> AsyncGenerator[str, None]:
        async with self._client.stream("POST", path, json=body, headers=PASSED_ON.get()) as response:
            if response.status_code >= httpx.codes.BAD_REQUEST:
                raise refusal(response.status_code, response.headers, await response.aread())
            async for line in response.aiter_lines():
                yield line

    async def _score(self, prompt: str, completion: str) -> ScoredCompletion:
        if not completion:
            return ScoredCompletion(tokens=())
        fields = prompt_fields(Text(prompt + completion))
        body = {"model": self._info.model, **fields, "max_tokens": 0, "echo": True, "logprobs": 0, "temperature": 0}
        with translated():
            response = await self._client.post("completions", json=body, headers=PASSED_ON.get())
        if response.status_code >= httpx.codes.INTERNAL_SERVER_ERROR or response.status_code in (401, 403, 429):
            raise refusal(response.status_code, response.headers, response.content)
        choices = [] if response.is_error else parse_chunk(response.text).get("choices")
        logprobs = choices[0].get("logprobs") if choices else None
        if not logprobs or len(logprobs.get("text_offset") or []) != len(logprobs.get("tokens") or [None]):
            raise UnsupportedField("echo", "the upstream does not give the log-probabilities of a prompt")
        tokens = completion_tokens(logprobs, 0)
        own = [token for token, at in zip(tokens, logprobs["text_offset"], strict=True) if at >= len(prompt)]
        return ScoredCompletion(tokens=tuple(own))


async def load(
    *,
    base_url: str,
    model: str | None = None,
    api_key: str | None = None,
    context_length: int | None = None,
    fields: Sequence[str] = (),
    fim: bool = True,
    max_logprobs: int = 5,
    max_running: int = 64,
    max_waiting: int = 256,
    read_timeout_s: float = 300.0,
) -> UpstreamEngine:
    """Connect to `base_url` (with its `/v1`); without `model`, to the first one it lists.

    `fields`: those of top_k, min_tokens and repetition_penalty that this upstream has beyond OpenAI's own API.
    `max_logprobs` 0: the upstream cannot report log-probabilities at all. Raises `EngineFailed`, `UnsupportedField`.
    """
    if unknown := sorted(set(fields) - _BEYOND_OPENAI):
        raise UnsupportedField(unknown[0], f"fields can be {', '.join(sorted(_BEYOND_OPENAI))}")
    client = _client(base_url, api_key, max_running, read_timeout_s)
    try:
        listed = await _listed(client)
    except BaseException:
        await client.aclose()
        raise
    if model is None:
        if not listed:
            await client.aclose()
            raise EngineFailed("the upstream lists no models; say which one to use (upstream.model)")
        model = str(listed[0]["id"])
    said: dict[str, Any] = next((entry for entry in listed if entry.get("id") == model), {})
    info = EngineInfo(
        engine="openai",
        model=model,
        dtype=str(said.get("dtype") or "upstream"),
        context_length=context_length or _context_of(said),
        fim="upstream" if fim else None,
        honours=(_HONOURS | frozenset(fields)) - (frozenset() if max_logprobs else {"logprobs"}),
        chat=True,
        max_logprobs=max_logprobs,
    )
    return UpstreamEngine(client, info, max_running=max_running, max_waiting=max_waiting)


def _client(base_url: str, api_key: str | None, connections: int, read_timeout_s: float) -> httpx.AsyncClient:
    limits = httpx.Limits(max_connections=connections + 4, max_keepalive_connections=connections)
    with translated():
        return httpx.AsyncClient(
            base_url=base_url.rstrip("/") + "/",
            headers={"Authorization": f"Bearer {api_key}"} if api_key else {},
            timeout=httpx.Timeout(read_timeout_s, connect=10.0, pool=None),
            transport=httpx.AsyncHTTPTransport(retries=1, limits=limits),
        )


async def _listed(client: httpx.AsyncClient) -> list[dict[str, Any]]:
    """What `/models` says; nothing where an upstream has no such route."""
    with translated():
        response = await client.get("models")
    if response.status_code == httpx.codes.NOT_FOUND:
        return []
    if response.is_error:
        raise refusal(response.status_code, response.headers, response.content)
    return list(parse_chunk(response.text).get("data") or [])


async def _before(closing: asyncio.Future[Any], lines: AsyncIterator[str], deadline: float | None) -> str | None:
    """The next line; None after the last one, at the deadline, or when the engine closes."""
    reading = asyncio.ensure_future(anext(lines, None))
    try:
        left_s = None if deadline is None else max(0.0, deadline - time.monotonic())
        await asyncio.wait([reading, closing], timeout=left_s, return_when=asyncio.FIRST_COMPLETED)
        return reading.result() if reading.done() else None
    finally:
        if not reading.done():
            reading.cancel()
            await asyncio.wait([reading])


def _context_of(said: dict[str, Any]) -> int:
    """The context length as vLLM, our own server or llama.cpp states it in its list of models."""
    stated = said.get("max_model_len"), said.get("context_length"), (said.get("meta") or {}).get("n_ctx_train")
    return next((int(length) for length in stated if isinstance(length, int) and length > 0), UNKNOWN_CONTEXT)


def _end_all(rows: list[Growing], reason: FinishReason) -> list[Event]:
    return [event for row in rows if not row.over for event in row.end(reason)]
