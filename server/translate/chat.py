"""`POST /v1/chat/completions`, from wire to domain."""

from __future__ import annotations

from collections.abc import Sequence

from engine import Chat, Message
from reranker import Task
from server.errors import BadRequest
from server.translate.ask import Ask
from server.translate.common import check_logprobs, client_of, ignored_keys, options_of, refuse
from server.translate.defaults import Defaults, Headers
from server.translate.names import resolve, told
from server.translate.rerank import resolve_rerank
from server.wire.chat import ChatMessage, ChatRequest

REFUSED: dict[str, tuple[object, ...]] = {
    "tools": (None, []),
    "tool_choice": (None, "none", "auto"),
    "functions": (None, []),
    "function_call": (None, "none", "auto"),
    "response_format": (None, {"type": "text"}),
    "modalities": (None, ["text"]),
    "audio": (None,),
    "prediction": (None,),
}


def chat_ask(wire: ChatRequest, headers: Headers, defaults: Defaults, *, id: str, peer: str = "") -> Ask:  # noqa: A002 - the API's word
    """Understand a chat request. Raises `BadRequest` naming the field, `NotFound` for another model."""
    info = defaults.info
    for name, neutral in REFUSED.items():
        refuse(name, getattr(wire, name), neutral)
    if not info.chat:
        raise BadRequest(
            "messages", "the served model has no chat template; use /v1/completions", code="unsupported_field"
        )
    messages = messages_of(wire.messages)
    stream = bool(wire.stream)
    named = resolve(wire.model, info.model, defaults.methods, defaults.also, defaults.profiles)
    client = client_of(headers, wire.user, peer)
    wanted = resolve_rerank(wire.rerank, headers, named, defaults, n=wire.n or 1, stream=stream)
    logprobs = _logprobs(wire)
    check_logprobs("top_logprobs", logprobs, info)
    if wire.max_tokens not in (None, wire.max_completion_tokens) and wire.max_completion_tokens is not None:
        raise BadRequest("max_tokens", "says another number than max_completion_tokens", code="conflict")
    max_tokens = wire.max_completion_tokens or wire.max_tokens
    options = options_of(wire, wanted, client, defaults, logprobs=logprobs, max_tokens=max_tokens, fim=False)
    tests = wanted.fields.tests
    task = Task(
        id=id,
        prompt=Chat(messages),
        shape="chat",
        prefix=next((message.content for message in reversed(messages) if message.role == "user"), ""),
        entry_point=tests.entry_point if tests is not None else None,
        suite=wanted.suite,
    )
    return Ask(
        id=id,
        route="chat",
        model=told(wire.model, info.model),
        tasks=(task,),
        options=options,
        client=client,
        stream=stream,
        include_usage=wire.stream_options is not None and wire.stream_options.include_usage,
        logprobs=logprobs,
        return_all=wanted.return_all,
        profile=wanted.profile,
        ignored=ignored_keys(wire),
    )


def messages_of(messages: Sequence[ChatMessage]) -> tuple[Message, ...]:
    """A conversation's turns. Raises `BadRequest` for what is no text."""
    return tuple(_message(position, message) for position, message in enumerate(messages))


def _message(position: int, message: ChatMessage) -> Message:
    """One turn as text; parts of text are joined. Raises `BadRequest` for other kinds of parts."""
    content = message.content
    if content is None and message.role != "assistant":
        raise BadRequest(f"messages[{position}].content", "must be there", code="missing")
    if isinstance(content, list):
        for index, part in enumerate(content):
            if part.type != "text" or part.text is None:
                where = f"messages[{position}].content[{index}]"
                raise BadRequest(where, f"only text is understood, not {part.type!r}", code="unsupported_field")
        content = "".join(part.text or "" for part in content)
    for name in ("tool_calls", "function_call"):
        if (message.model_extra or {}).get(name):
            raise BadRequest(
                f"messages[{position}].{name}", "this server does not support it", code="unsupported_field"
            )
    return Message(message.role, content or "")


def _logprobs(wire: ChatRequest) -> int | None:
    if wire.top_logprobs and not wire.logprobs:
        raise BadRequest("top_logprobs", "needs logprobs: true", code="conflict")
    return (wire.top_logprobs or 0) if wire.logprobs else None
