"""Prompts as plain JSON data and back, and their content hash."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from engine import Chat, Fim, Message, Prompt, Text, TokenIds
from feedback.errors import InvalidExchange

_canonical = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode
HASH_PREFIX = "b2:"
"""Names the algorithm (BLAKE2b, 16 bytes), so that a later change shows."""


def prompt_to_data(prompt: Prompt) -> dict[str, Any]:
    """`{"kind": "text"|"tokens"|"chat"|"fim", ...}`."""
    match prompt:
        case Text():
            return {"kind": "text", "text": prompt.text}
        case TokenIds():
            return {"kind": "tokens", "ids": list(prompt.ids)}
        case Chat():
            return {"kind": "chat", "messages": [{"role": m.role, "content": m.content} for m in prompt.messages]}
        case Fim():
            others = {"files": [list(file) for file in prompt.files], "path": prompt.path} if prompt.files else {}
            return {"kind": "fim", "prefix": prompt.prefix, "suffix": prompt.suffix, **others}


def prompt_from_data(data: dict[str, Any]) -> Prompt:
    """The prompt that `prompt_to_data` was given. Raises `InvalidExchange` for data that is no prompt."""
    try:
        match data["kind"]:
            case "text":
                return Text(data["text"])
            case "tokens":
                return TokenIds(tuple(data["ids"]))
            case "chat":
                return Chat(tuple(Message(m["role"], m["content"]) for m in data["messages"]))
            case "fim":
                files = tuple((path, text) for path, text in data.get("files", ()))
                return Fim(data["prefix"], data["suffix"], files, data.get("path", ""))
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidExchange(f"prompt: {error!r} is missing or of another type") from error
    raise InvalidExchange(f"prompt.kind: {data['kind']!r} is not text, tokens, chat or fim")


def prompt_hash(data: dict[str, Any]) -> str:
    """Content hash of a prompt's plain data: `b2:` and 32 hexadecimal digits of BLAKE2b over its canonical JSON.

    Canonical: keys sorted, no spaces, non-ASCII unescaped, UTF-8 with surrogates passed through.
    """
    canonical = _canonical(data)
    return HASH_PREFIX + hashlib.blake2b(canonical.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
