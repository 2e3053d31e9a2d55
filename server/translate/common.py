"""From wire to domain, what both generation routes share: sampling, options, ignored keys, who asks."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cache
from typing import Any, cast

from engine import EngineInfo, Priority, Sampling, UnsupportedField
from feedback import Purpose
from reranker import Options
from server.errors import BadRequest
from server.translate.ask import Client
from server.translate.defaults import Defaults, Headers
from server.translate.rerank import Wanted
from server.wire.base import Effect, SamplingFields, Wire

_PURPOSES = ("traffic", "eval", "train")
PRIORITIES = {
    "as-you-type": Priority.AS_YOU_TYPE,
    "interactive": Priority.INTERACTIVE,
    "batch": Priority.BATCH,
}
_TYPED_AT_MOST = 8
"""Candidates of a gap that count as asked for while typing: what one call of the engine decodes."""
_PRINTABLE = re.compile(r"[\x21-\x7e]{1,200}")


def client_of(headers: Headers, user: str | None, peer: str) -> Client:
    """Who asks, and why. `peer` is the connection's address. Raises `BadRequest`."""
    purpose = headers.get("x-purpose", "traffic")
    if purpose not in _PURPOSES:
        raise BadRequest("X-Purpose", f"must be one of {', '.join(_PURPOSES)}", code="invalid_value")
    session = headers.get("x-session-id")
    if session is not None and not _PRINTABLE.fullmatch(session):
        raise BadRequest("X-Session-Id", "must be 1 to 200 printable characters", code="invalid_value")
    word = headers.get("x-priority")
    if word is not None and word not in PRIORITIES:
        raise BadRequest("X-Priority", f"must be one of {', '.join(PRIORITIES)}", code="invalid_value")
    return Client(
        purpose=cast("Purpose", purpose),
        session_id=session,
        fairness_key=user or session or peer,
        priority=class_asked(headers),
    )


def class_asked(headers: Headers) -> Priority:
    """The most urgent class that the headers leave a request: `X-Priority`'s, else batch for what is no traffic."""
    word = headers.get("x-priority", "")
    if word in PRIORITIES:
        return PRIORITIES[word]
    return Priority.AS_YOU_TYPE if headers.get("x-purpose", "traffic") == "traffic" else Priority.BATCH


def _priority_of(client: Client, *, typed: bool) -> Priority:
    """A request's class: by what it is, unless its headers say that it can wait. No header makes it more urgent."""
    return max(Priority.AS_YOU_TYPE if typed else Priority.INTERACTIVE, client.priority)


def options_of(
    wire: SamplingFields,
    wanted: Wanted,
    client: Client,
    defaults: Defaults,
    *,
    logprobs: int | None,
    max_tokens: int | None,
    fim: bool,
) -> Options:
    """Sampling and choice, resolved; `max_tokens` None: not said. Raises `BadRequest` for what cannot be honoured."""
    fields = wanted.fields
    own = wanted.method == "off" or wanted.as_openai
    if own:
        temperature, top_p = wire.temperature, wire.top_p
        default_temperature, default_top_p = 1.0, 1.0
    else:
        temperature, top_p = fields.temperature, fields.top_p
        default_temperature, default_top_p = defaults.temperature, defaults.top_p
    info = defaults.info
    sampling = Sampling(
        temperature=default_temperature if temperature is None else temperature,
        top_p=default_top_p if top_p is None else top_p,
        top_k=max(0, wire.top_k or 0),
        max_tokens=max_tokens or (defaults.max_tokens_fim if fim else defaults.max_tokens),
        fits_context=max_tokens is None or fim,  # editors ask for thousands of tokens whatever the model
        min_tokens=wire.min_tokens or 0,
        stop=stops_of(wire.stop),
        # Seeds are not refused where they cannot be honoured: the reply says whether this one was.
        seed=wire.seed if "seed" in info.honours else None,
        logprobs=logprobs,
        presence_penalty=wire.presence_penalty or 0.0,
        frequency_penalty=wire.frequency_penalty or 0.0,
        repetition_penalty=1.0 if wire.repetition_penalty is None else wire.repetition_penalty,
        logit_bias=_bias(wire.logit_bias),
    )
    _check_honoured(sampling, info)
    priority = _priority_of(client, typed=fim and wanted.num_candidates <= _TYPED_AT_MOST)
    base = Options(
        method=wanted.method,
        n=wanted.n,
        num_candidates=wanted.num_candidates,
        adaptive=wanted.adaptive,
        generate_tests=wanted.generate_tests,
        plans=fields.plans or 0,
        repair_rounds=fields.repair_rounds or 0,
        sampling=sampling,
        include_greedy=not wanted.as_openai and fields.include_greedy is not False,
        deadline_s=wanted.deadline_s,
        also=() if fields.verifier is None else ("verifier",),
        limits=wanted.limits,
        priority=priority,
        fairness_key=client.fairness_key,
    )
    return _with_words(base, wanted)


def _with_words(base: Options, wanted: Wanted) -> Options:
    fields = wanted.fields
    words = {
        "dedupe": fields.dedupe,
        "examples": fields.examples,
        "early_exit": fields.early_exit,
        "on_error": fields.on_error,
    }
    given: dict[str, Any] = {name: word for name, word in words.items() if word is not None}
    return replace(base, **given) if given else base  # the words were checked in translate/rerank.py


def stops_of(stop: str | list[str] | None) -> tuple[str, ...]:
    """Stop strings in either of OpenAI's forms; more than 4 are fine. Raises `BadRequest` for an empty one."""
    found = (stop,) if isinstance(stop, str) else tuple(stop or ())
    if "" in found:
        raise BadRequest("stop", "an empty stop string would stop everything", code="invalid_value")
    return found


def check_logprobs(name: str, count: int | None, info: EngineInfo) -> None:
    """Refuse more alternatives a token than the model reports."""
    if count and count > info.max_logprobs:
        raise BadRequest(name, f"this model reports at most {info.max_logprobs} alternatives a token", code="too_many")


_ASKS_NOTHING: tuple[object, ...] = (None, False, 0, -1, "", [], {})
"""Values that a field without effect may have without a word about it."""


def ignored_keys(wire: Wire, prefix: str = "") -> tuple[str, ...]:
    """Names of the keys that nobody knows, and of the fields without effect that ask for something, with their path;
    of the objects in a list each once, whichever has it.
    """
    found = [prefix + key for key in wire.model_extra or ()]
    found += [prefix + name for name in _without_effect(type(wire)) if getattr(wire, name) not in _ASKS_NOTHING]
    for name, value in vars(wire).items():
        if value is None:  # most of the fields; pydantic's `isinstance` is slow
            continue
        if isinstance(value, Wire):
            found += ignored_keys(value, f"{prefix}{name}.")
        elif isinstance(value, list) and value and isinstance(value[0], Wire):
            for each in value:
                found += ignored_keys(each, f"{prefix}{name}[].")
    return tuple(dict.fromkeys(found))


@cache
def _without_effect(model: type[Wire]) -> tuple[str, ...]:
    return tuple(name for name, field in model.model_fields.items() if Effect.NONE in field.metadata)


def refuse(name: str, value: object, neutral: tuple[object, ...]) -> None:
    """Refuse a known field that is not honoured, unless its value asks for nothing."""
    if value not in neutral:
        raise BadRequest(name, "this server does not support it", code="unsupported_field")


def _bias(bias: dict[str, float] | None) -> tuple[tuple[int, float], ...]:
    try:
        return tuple((int(token), value) for token, value in (bias or {}).items() if value)
    except ValueError:
        raise BadRequest("logit_bias", "its keys must be token ids", code="invalid_value") from None


def _check_honoured(sampling: Sampling, info: EngineInfo) -> None:
    for name in sorted(sampling.asked() - info.honours - {"logprobs"}):
        raise UnsupportedField(name, f"the engine {info.engine!r} cannot honour it")
