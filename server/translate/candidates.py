"""`POST /v1/rerank/candidates`, from wire to domain and back: the requests that would have sampled them, understood."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from engine import EngineInfo
from reranker import Ranking
from server.errors import BadRequest
from server.translate import evidence
from server.translate.ask import Ask
from server.translate.chat import chat_ask
from server.translate.common import ignored_keys
from server.translate.completions import completion_ask
from server.translate.defaults import Defaults, Headers
from server.translate.names import resolve
from server.wire.base import RerankFields
from server.wire.candidates import CandidatesRequest
from server.wire.chat import ChatRequest
from server.wire.completions import CompletionRequest

OF_SAMPLING = (
    "num_candidates",
    "max_candidates",
    "plans",
    "repair_rounds",
    "temperature",
    "top_p",
    "include_greedy",
    "return_",
)


def candidates_ask(wire: CandidatesRequest, headers: Headers, defaults: Defaults, *, id: str, peer: str = "") -> Ask:  # noqa: A002 - the API's word
    """Understand the request; all candidates come back. Raises `BadRequest` naming the field, `NotFound`."""
    fields = wire.rerank or RerankFields()
    nothing = dict.fromkeys(OF_SAMPLING)
    profiles = {name: profile.model_copy(update=nothing) for name, profile in defaults.profiles.items()}
    defaults = replace(defaults, profiles=profiles)
    for name in OF_SAMPLING:
        if getattr(fields, name) is not None:
            raise BadRequest(f"rerank.{name.rstrip('_')}", "nothing is sampled here", code="conflict")
    if len(wire.candidates) > defaults.max_candidates:
        raise BadRequest("candidates", f"at most {defaults.max_candidates} candidates", code="too_many_candidates")
    asked = fields.model_copy(
        update={
            "num_candidates": len(wire.candidates),
            "early_exit": fields.early_exit or "off",
            "return_": "all",
            "include_greedy": False,
        }
    )
    named = resolve(wire.model, defaults.info.model, defaults.methods, defaults.also, profiles)
    said = {"rerank.method": fields.method, "X-Rerank": headers.get("x-rerank"), "model": named.method}
    decides = next((name for name, method in said.items() if method), None)
    if decides is not None and said[decides] == "off":
        raise BadRequest(decides, "'off' ranks nothing", code="conflict")
    ask = _ask(wire, asked, headers, defaults, id=id, peer=peer)
    if ask.options.method == "off":
        raise BadRequest("rerank.profile", f"{ask.profile!r} says 'off', which ranks nothing", code="conflict")
    return replace(ask, route="candidates", ignored=ignored_keys(wire))


def _ask(
    wire: CandidatesRequest,
    asked: RerankFields,
    headers: Headers,
    defaults: Defaults,
    *,
    id: str,  # noqa: A002
    peer: str,
) -> Ask:
    if wire.messages is not None:
        for name in ("prompt", "suffix"):
            if getattr(wire, name) is not None:
                raise BadRequest(name, "give it or messages, not both", code="conflict")
        chat = ChatRequest.model_construct(model=wire.model, user=wire.user, messages=wire.messages, rerank=asked)
        return chat_ask(chat, headers, defaults, id=id, peer=peer)
    if wire.prompt is None:
        raise BadRequest("prompt", "give prompt or messages", code="missing")
    text = CompletionRequest.model_construct(
        model=wire.model, user=wire.user, prompt=wire.prompt, suffix=wire.suffix, rerank=asked
    )
    return completion_ask(text, headers, defaults, id=id, peer=peer)


def candidates_reply(ask: Ask, ranking: Ranking, info: EngineInfo, created: int, scored_tokens: int) -> dict[str, Any]:
    """The whole reply: every candidate, the best first, by its place in the request. `created` is Unix seconds."""
    results = [
        {
            "index": ranking.candidates[position].index,
            "text": ranking.candidates[position].text,
            "rerank": evidence.choice_block(ranking, position, None),
        }
        for position in ranking.order
    ]
    usage = {
        "prompt_tokens": scored_tokens,
        "completion_tokens": ranking.side_tokens,
        "total_tokens": scored_tokens + ranking.side_tokens,
    }
    return {
        "id": ask.id,
        "object": "rerank",
        "created": created,
        "model": ask.model,
        "system_fingerprint": evidence.fingerprint(info, ask.profile),
        "results": results,
        "usage": usage,
        "rerank": evidence.rerank_block(ask, [ranking]),
    }
