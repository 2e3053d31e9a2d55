"""Between our requests and the JSON of the OpenAI API; pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from engine.errors import EngineFailed
from engine.types import Chat, Fim, FinishReason, GenerationRequest, Prompt, Sampling, Text, TokenIds, TokenLogprob

UNKNOWN_ID = -1
"""Upstreams name tokens by their text; their ids are not said."""

_REASONS: dict[str, FinishReason] = {"length": "length", "abort": "cancelled"}
_BYTES_A_TOKEN = 4


@dataclass(frozen=True, slots=True)
class Delta:
    """What one chunk says about one candidate."""

    candidate: int
    text: str
    tokens: tuple[TokenLogprob, ...]
    token_bytes: tuple[int, ...]
    """How many bytes of the text each token stands for."""
    reason: FinishReason | None


def path_of(prompt: Prompt) -> str:
    """The route for a kind of prompt, below the base URL."""
    return "chat/completions" if isinstance(prompt, Chat) else "completions"


def prompt_fields(prompt: Prompt) -> dict[str, Any]:
    """The body's fields for a prompt."""
    match prompt:
        case Text():
            return {"prompt": prompt.text}
        case TokenIds():
            return {"prompt": list(prompt.ids)}
        case Fim():
            return {"prompt": prompt.prefix, "suffix": prompt.suffix}
        case Chat():
            return {"messages": [{"role": turn.role, "content": turn.content} for turn in prompt.messages]}


def estimate_tokens(prompt: Prompt) -> int:
    """How long a prompt about is; an upstream says it exactly only when all is over."""
    if isinstance(prompt, TokenIds):
        return max(1, len(prompt.ids))
    parts = (value if isinstance(value, str) else json.dumps(value) for value in prompt_fields(prompt).values())
    return 1 + sum(len(part.encode()) for part in parts) // _BYTES_A_TOKEN


def body_of(request: GenerationRequest, model: str, *, n: int, logprobs: bool) -> dict[str, Any]:
    """The JSON body of a streamed request for `n` candidates; fields at their neutral value are left out."""
    sampling = request.sampling
    body: dict[str, Any] = {
        "model": model,
        **prompt_fields(request.prompt),
        "max_tokens": sampling.max_tokens,
        "temperature": sampling.temperature,
        "n": n,
        "stream": True,
    }
    if sampling.top_p != 1.0:
        body["top_p"] = sampling.top_p
    if sampling.stop:
        body["stop"] = list(sampling.stop)
    if logprobs:
        body |= _logprob_fields(request.prompt, sampling)
    values = {name: getattr(sampling, name) for name in sampling.asked() - {"logprobs", "logit_bias"}}
    if sampling.logit_bias:
        values["logit_bias"] = {str(token): bias for token, bias in sampling.logit_bias}
    return body | values


def _logprob_fields(prompt: Prompt, sampling: Sampling) -> dict[str, Any]:
    if isinstance(prompt, Chat):
        return {"logprobs": True, "top_logprobs": sampling.logprobs or 0}
    return {"logprobs": sampling.logprobs or 0}


def parse_chunk(data: str) -> dict[str, Any]:
    """One server-sent event's JSON. Raises `EngineFailed`."""
    try:
        chunk = json.loads(data)
    except ValueError as error:
        raise EngineFailed("the upstream sent a chunk that is not JSON") from error
    if not isinstance(chunk, dict):
        raise EngineFailed("the upstream sent a chunk that is not an object")
    return chunk


def deltas_of(chunk: dict[str, Any], alternatives: int) -> list[Delta]:
    """The candidates' parts of a chunk. Raises `EngineFailed` when its shape is not the API's."""
    try:
        return [_delta(choice, alternatives) for choice in chunk.get("choices") or []]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise EngineFailed(f"the upstream sent a chunk of another shape: {error!r}") from error


def _delta(choice: dict[str, Any], alternatives: int) -> Delta:
    text = choice.get("text")
    if text is None:
        text = (choice.get("delta") or {}).get("content") or ""
    finish = choice.get("finish_reason")
    reason = None if finish is None else _REASONS.get(finish, "stop")
    logprobs = choice.get("logprobs") or {}
    if "content" in logprobs:
        entries = logprobs["content"] or []
        tokens = tuple(_chat_token(entry, alternatives) for entry in entries)
        sizes = tuple(len(entry["bytes"]) if entry.get("bytes") else _size(entry["token"]) for entry in entries)
    else:
        tokens = completion_tokens(logprobs, alternatives)
        sizes = tuple(_size(token.text) for token in tokens)
    return Delta(int(choice.get("index", 0)), text, tokens, sizes, reason)


def completion_tokens(logprobs: dict[str, Any], alternatives: int) -> tuple[TokenLogprob, ...]:
    """The tokens of a `/completions` logprobs object; the first of an echoed prompt has no value and gets 0."""
    texts: Sequence[str] = logprobs.get("tokens") or []
    values: Sequence[float | None] = logprobs.get("token_logprobs") or []
    tops: Sequence[dict[str, float] | None] = logprobs.get("top_logprobs") or [None] * len(texts)
    return tuple(
        TokenLogprob(UNKNOWN_ID, text, float(value or 0.0), _best((top or {}).items(), alternatives))
        for text, value, top in zip(texts, values, tops, strict=True)
    )


def _chat_token(entry: dict[str, Any], alternatives: int) -> TokenLogprob:
    tops = [(other["token"], other["logprob"]) for other in entry.get("top_logprobs") or []]
    return TokenLogprob(UNKNOWN_ID, entry["token"], float(entry["logprob"]), _best(tops, alternatives))


def _best(pairs: Any, alternatives: int) -> tuple[tuple[str, float], ...]:
    ordered = sorted(((str(text), float(value)) for text, value in pairs), key=lambda pair: -pair[1])
    return tuple(ordered[:alternatives])


def _size(token: str) -> int:
    if token.startswith("bytes:"):  # OpenAI's spelling of a token that is no whole character
        return token.count("\\x")
    return len(token.replace("\ufffd", "?").encode())
