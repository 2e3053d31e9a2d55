"""The two dialects a reply can be written in: OpenAI's completions and chat, plain and in chunks.

A writer turns candidates and pieces of text into choices; everything around the choices is alike and lives in
`reply.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from engine import TokenLogprob
from reranker import Ranking
from server.translate.ask import Ask
from server.translate.evidence import finite

Choice = dict[str, Any]


class Writer(Protocol):
    """One dialect."""

    object: str
    chunk_object: str

    def choice(self, ask: Ask, index: int, text: str, tokens: Sequence[TokenLogprob], finish: str) -> Choice:
        """A whole choice; `text` includes the echoed prompt."""
        ...

    def opening(self, index: int) -> Choice | None:
        """What a stream says of a choice before its first text; None for nothing."""
        ...

    def piece(self, ask: Ask, index: int, text: str, tokens: Sequence[TokenLogprob], offset: int) -> Choice:
        """Some text of a choice; `offset` is the number of characters before it."""
        ...

    def closing(self, index: int, finish: str) -> Choice:
        """The end of a choice."""
        ...


class Events(Protocol):
    """What the events of one stream say, in the route's dialect."""

    done: bytes
    """After the last event."""

    def piece(self, index: int, text: str, tokens: Sequence[TokenLogprob]) -> Iterator[dict[str, Any]]:
        """The events for some text of a choice."""
        ...

    def text(self, rankings: Sequence[Ranking]) -> Iterator[dict[str, Any]]:
        """The events with the text of every choice."""
        ...

    def end(self, rankings: Sequence[Ranking]) -> Iterator[dict[str, Any]]:
        """The events that end every choice."""
        ...


class CompletionWriter:
    """`text_completion`."""

    object = "text_completion"
    chunk_object = "text_completion"

    def choice(self, ask: Ask, index: int, text: str, tokens: Sequence[TokenLogprob], finish: str) -> Choice:
        """See `Writer.choice`."""
        return {**self.piece(ask, index, text, tokens, 0), "finish_reason": finish}

    def opening(self, index: int) -> Choice | None:
        """Nothing."""
        return None

    def piece(self, ask: Ask, index: int, text: str, tokens: Sequence[TokenLogprob], offset: int) -> Choice:
        """See `Writer.piece`."""
        logprobs = None if ask.logprobs is None else _completion_logprobs(tokens, offset, ask.logprobs)
        return {"index": index, "text": text, "logprobs": logprobs, "finish_reason": None}

    def closing(self, index: int, finish: str) -> Choice:
        """See `Writer.closing`."""
        return {"index": index, "text": "", "logprobs": None, "finish_reason": finish}


class ChatWriter:
    """`chat.completion`."""

    object = "chat.completion"
    chunk_object = "chat.completion.chunk"

    def choice(self, ask: Ask, index: int, text: str, tokens: Sequence[TokenLogprob], finish: str) -> Choice:
        """See `Writer.choice`."""
        message = {"role": "assistant", "content": text, "refusal": None}
        logprobs = None if ask.logprobs is None else _chat_logprobs(tokens, ask.logprobs)
        return {"index": index, "message": message, "logprobs": logprobs, "finish_reason": finish}

    def opening(self, index: int) -> Choice | None:
        """The role."""
        delta = {"role": "assistant", "content": "", "refusal": None}
        return {"index": index, "delta": delta, "logprobs": None, "finish_reason": None}

    def piece(self, ask: Ask, index: int, text: str, tokens: Sequence[TokenLogprob], offset: int) -> Choice:
        """See `Writer.piece`."""
        logprobs = None if ask.logprobs is None else _chat_logprobs(tokens, ask.logprobs)
        return {"index": index, "delta": {"content": text}, "logprobs": logprobs, "finish_reason": None}

    def closing(self, index: int, finish: str) -> Choice:
        """See `Writer.closing`."""
        return {"index": index, "delta": {}, "logprobs": None, "finish_reason": finish}


WRITERS: dict[str, Writer] = {"completions": CompletionWriter(), "chat": ChatWriter(), "fim": ChatWriter()}


def _completion_logprobs(tokens: Sequence[TokenLogprob], offset: int, alternatives: int) -> dict[str, Any]:
    offsets = []
    for token in tokens:
        offsets.append(offset)
        offset += len(token.text)
    tops = [{text: finite(logprob) for text, logprob in token.top[:alternatives]} for token in tokens]
    return {
        "tokens": [token.text for token in tokens],
        "token_logprobs": [finite(token.logprob) for token in tokens],
        "top_logprobs": tops if alternatives else None,
        "text_offset": offsets,
    }


def _chat_logprobs(tokens: Sequence[TokenLogprob], alternatives: int) -> dict[str, Any]:
    content = [
        {
            **_token(token.text, token.logprob),
            "top_logprobs": [_token(text, logprob) for text, logprob in token.top[:alternatives]],
        }
        for token in tokens
    ]
    return {"content": content, "refusal": None}


def _token(text: str, logprob: float) -> dict[str, Any]:
    return {"token": text, "logprob": finite(logprob), "bytes": list(text.encode("utf-8", "surrogatepass"))}
