"""`POST /tokenize` and `POST /detokenize`: the served model's own tokenizer, in vLLM's words."""

from __future__ import annotations

import asyncio
from typing import Any, Generic, TypeVar

from starlette.types import Receive, Scope, Send

from engine import Chat, EngineInfo, Tokenizer
from server.asgi import headers_of, ignored_header, read_body, send_json
from server.errors import BadRequest
from server.keys.caller import caller_of
from server.served import Served
from server.service import Service
from server.tokens import tokenizer_of
from server.translate.chat import messages_of
from server.translate.common import ignored_keys, refuse
from server.translate.names import resolve
from server.wire.tokens import DetokenizeRequest, TokenizeRequest

W = TypeVar("W", TokenizeRequest, DetokenizeRequest)


class _Asked(Generic[W]):
    """What both have in common."""

    def __init__(self, service: Service, wire: type[W]) -> None:
        self._service = service
        self._wire: type[W] = wire

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        service = self._service
        with service.lifecycle.admitted():
            body = await read_body(receive, headers_of(scope), service.config.server, caller_of(scope).body_limit)
            wire = self._wire.model_validate_json(body)
            served = service.roster.pick(wire.model, key="", traffic=False)
            with served.lease():
                reply = await asyncio.to_thread(self._reply, wire, _tokenizer(served, wire.model), served.info)
            await send_json(send, 200, reply, ignored_header(ignored_keys(wire)))

    def _reply(self, wire: W, tokenizer: Tokenizer, info: EngineInfo) -> dict[str, Any]:
        raise NotImplementedError


class Tokenize(_Asked[TokenizeRequest]):
    """`POST /tokenize`."""

    def __init__(self, service: Service) -> None:
        super().__init__(service, TokenizeRequest)

    def _reply(self, wire: TokenizeRequest, tokenizer: Tokenizer, info: EngineInfo) -> dict[str, Any]:
        ids = _ids(wire, tokenizer)
        spelled = [tokenizer.text_of(token) for token in ids] if wire.return_token_strs else None
        return {"count": len(ids), "max_model_len": info.context_length, "tokens": ids, "token_strs": spelled}


class Detokenize(_Asked[DetokenizeRequest]):
    """`POST /detokenize`: special tokens give no text."""

    def __init__(self, service: Service) -> None:
        super().__init__(service, DetokenizeRequest)

    def _reply(self, wire: DetokenizeRequest, tokenizer: Tokenizer, info: EngineInfo) -> dict[str, Any]:
        most = len(tokenizer.bytes_of) - 1
        if any(token > most for token in wire.tokens):
            raise BadRequest("tokens", f"token ids go from 0 to {most}", code="invalid_value")
        return {"prompt": tokenizer.decode(wire.tokens)}


def _tokenizer(served: Served, name: str | None) -> Tokenizer:
    """Raises `NotFound` for another model's name, `BadRequest` where the engine has no tokenizer of its own."""
    resolve(name, served.info.model, served.defaults.methods, served.defaults.also)
    found = tokenizer_of(served.engine)
    if found is None:
        raise BadRequest("model", f"the engine {served.info.engine!r} has no tokenizer here", code="unsupported_field")
    return found


def _ids(wire: TokenizeRequest, tokenizer: Tokenizer) -> list[int]:
    if (wire.prompt is None) == (wire.messages is None):
        raise BadRequest("prompt", "give either it or messages", code="conflict")
    for name in ("chat_template", "chat_template_kwargs", "tools", "continue_final_message"):
        refuse(name, getattr(wire, name), (None, {}, [], False))
    if wire.messages is None:
        return tokenizer.encode(wire.prompt or "", special_tokens=wire.add_special_tokens is not False)
    refuse("add_generation_prompt", wire.add_generation_prompt, (True,))
    refuse("add_special_tokens", wire.add_special_tokens, (None, False))
    return tokenizer.encode_prompt(Chat(messages_of(wire.messages)))
