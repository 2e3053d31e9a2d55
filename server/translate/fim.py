"""Gaps to fill, from other dialects to OpenAI's own, and prompts in which a client spelled a layout out itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from engine import Fim, TokenLogprob
from reranker import Ranking, Task
from server.errors import BadRequest
from server.translate.ask import Ask
from server.translate.common import ignored_keys, refuse
from server.translate.completions import completion_ask
from server.translate.defaults import Defaults, Headers
from server.translate.evidence import finish_reason
from server.translate.reply import chosen
from server.wire.completions import CompletionRequest
from server.wire.fim import FimRequest, InfillRequest


def fim_ask(wire: FimRequest, headers: Headers, defaults: Defaults, *, id: str, peer: str = "") -> Ask:  # noqa: A002 - the API's word
    """Mistral's request. Raises `BadRequest` naming the field."""
    asked = CompletionRequest.model_construct(
        **_same(wire, "model", "prompt", "suffix", "max_tokens", "min_tokens", "temperature", "top_p", "stop", "n"),
        **_same(wire, "stream", "stream_options", "user", "rerank"),
        seed=wire.random_seed,
    )
    ask = completion_ask(asked, headers, defaults, id=id, peer=peer)
    return replace(ask, route="fim", ignored=ignored_keys(wire))


_SAMPLERS = frozenset({"temperature", "top_k", "top_p"})
_INERT = frozenset({"penalties", "dry", "top_n_sigma", "typ_p", "xtc"})
"""llama.cpp's samplers that do nothing while nothing is said of their parameters, which are not taken here."""
_NEUTRAL = {"min_p": (None, 0), "typical_p": (None, 1), "n_keep": (None, 0, -1)}
"""Of what is refused; a generation here never drops a part of its context, so all is kept."""


def infill_ask(wire: InfillRequest, headers: Headers, defaults: Defaults, *, id: str, peer: str = "") -> Ask:  # noqa: A002
    """llama.cpp's request. Raises `BadRequest` naming the field."""
    if defaults.info.fim is None:
        raise BadRequest("input_suffix", "the served model cannot fill in the middle", code="unsupported_field")
    for name, neutral in _NEUTRAL.items():
        refuse(name, getattr(wire, name), neutral)
    counts = _samplers(wire)
    asked = CompletionRequest.model_construct(
        **_same(wire, "model", "stop", "stream", "user"),
        seed=None if wire.seed == -1 else wire.seed,  # llama.cpp's word for "any"
        temperature=wire.temperature if "temperature" in counts else _infill_temperature(wire),
        top_k=wire.top_k if "top_k" in counts else None,
        top_p=(wire.top_p or None) if "top_p" in counts else None,
        prompt=wire.input_prefix + (wire.prompt or ""),
        suffix=wire.input_suffix,
        max_tokens=wire.n_predict if wire.n_predict and wire.n_predict > 0 else None,
        n=wire.n_cmpl or wire.n,
        rerank=wire.rerank,
    )
    ask = completion_ask(asked, headers, defaults, id=id, peer=peer)
    options = ask.options
    if wire.t_max_predict_ms and wire.t_max_predict_ms > 0 and options.deadline_s is None:
        options = replace(options, deadline_s=wire.t_max_predict_ms / 1000)
    files = tuple((extra.filename or "", extra.text) for extra in wire.input_extra or ())
    tasks = tuple(_with_files(task, files) for task in ask.tasks)
    return replace(ask, route="infill", options=options, tasks=tasks, ignored=_ignored(wire))


def _samplers(wire: InfillRequest) -> frozenset[str]:
    """Which of our samplers count: in llama.cpp those named, all where none is. Raises `BadRequest`."""
    if wire.samplers is None:
        return _SAMPLERS
    known = _SAMPLERS | _INERT | {"infill"} | ({"min_p"} if wire.min_p == 0 else set())
    if others := [name for name in wire.samplers if name not in known]:
        raise BadRequest("samplers", f"this server does not have {others[0][:40]!r}", code="unsupported_field")
    return _SAMPLERS.intersection(wire.samplers)


def _infill_temperature(wire: InfillRequest) -> float | None:
    """Where `temperature` does not count: the likeliest token for llama.cpp's `infill`, which leaves little else; else
    the route's default.
    """
    alone = (wire.n_cmpl or wire.n or 1) == 1 and wire.rerank is None
    return 0.0 if alone and "infill" in (wire.samplers or ()) else None


def _ignored(wire: InfillRequest) -> tuple[str, ...]:
    uncounted = (name for name in sorted(_SAMPLERS - _samplers(wire)) if getattr(wire, name) is not None)
    merges = ("samplers[infill]",) if "infill" in (wire.samplers or ()) else ()
    return (*ignored_keys(wire), *uncounted, *merges)


def _same(wire: Any, *names: str) -> dict[str, Any]:
    return {name: getattr(wire, name) for name in names}


def _with_files(task: Task, files: tuple[tuple[str, str], ...]) -> Task:
    return replace(task, prompt=replace(task.prompt, files=files)) if files and isinstance(task.prompt, Fim) else task


def infill_reply(ask: Ask, ranking: Ranking, fields: list[str] | None) -> Any:
    """llama.cpp's reply: an object, or a list of them where several were asked for."""
    found = [_filled(ask, ranking, index, position) for index, position in enumerate(ranking.order[: ask.options.n])]
    if fields is not None:
        found = [_only(each, fields) for each in found]
    return found if ask.options.n > 1 else found[0]


class InfillEvents:
    """llama.cpp's `Events`: text with `stop` false, then of each choice the whole reply without its text."""

    done = b""
    """It says nothing after the last."""

    def __init__(self, ask: Ask, fields: list[str] | None) -> None:
        self._ask = ask
        self._fields = fields

    def piece(self, index: int, text: str, tokens: Sequence[TokenLogprob]) -> Iterator[dict[str, Any]]:
        """See `Events.piece`."""
        yield {"index": index, "content": text, "stop": False}

    def text(self, rankings: Sequence[Ranking]) -> Iterator[dict[str, Any]]:
        """See `Events.text`: whole, as there is nothing to wait for any more."""
        for index, number, position in chosen(self._ask, rankings):
            yield from self.piece(index, rankings[number].candidates[position].text, ())

    def end(self, rankings: Sequence[Ranking]) -> Iterator[dict[str, Any]]:
        """See `Events.end`."""
        for index, number, position in chosen(self._ask, rankings):
            told = {**_filled(self._ask, rankings[number], index, position), "content": ""}
            yield told if self._fields is None else _only(told, self._fields)


def _filled(ask: Ask, ranking: Ranking, index: int, position: int) -> dict[str, Any]:
    candidate = ranking.candidates[position]
    ended = finish_reason(candidate) == "stop"
    prompt_ms = 1000 * (ranking.prefill_s or 0.0)
    decode_ms = 1000 * max(0.0, ranking.generate_s - (ranking.first_token_s or 0.0))
    return {
        "id": ask.id,
        "index": index,
        "content": candidate.text,
        "stop": True,
        "stop_type": "eos" if ended else "limit",
        "stopping_word": "",
        "model": ask.model,
        "tokens_predicted": candidate.token_count,
        "tokens_evaluated": ranking.prompt_tokens,
        "tokens_cached": 0,
        "has_new_line": "\n" in candidate.text,
        "truncated": bool(ask.truncated),
        "generation_settings": {"n_predict": ask.options.sampling.max_tokens},
        "timings": {
            **_timings("prompt", ranking.prompt_tokens, prompt_ms),
            **_timings("predicted", candidate.token_count, decode_ms),
        },
    }


def empty_fill(ask: Ask, fields: list[str] | None) -> Any:
    """What is told where nothing was sampled, as nothing was to be or as the time was over before: no error to an
    editor.
    """
    empty = {
        "id": ask.id,
        "index": 0,
        "content": "",
        "stop": True,
        "stop_type": "limit",
        "model": ask.model,
        "tokens_predicted": 0,
        "timings": {**_timings("prompt", 0, 0.0), **_timings("predicted", 0, 0.0)},
    }
    told = empty if fields is None else _only(empty, fields)
    return [told] if ask.options.n > 1 and not ask.stream else told


def _timings(stage: str, tokens: int, ms: float) -> dict[str, float]:
    return {
        f"{stage}_n": tokens,
        f"{stage}_ms": ms,
        f"{stage}_per_token_ms": ms / tokens if tokens else 0.0,
        f"{stage}_per_second": 1000 * tokens / ms if ms else 0.0,
    }


def _only(whole: dict[str, Any], fields: list[str]) -> dict[str, Any]:
    """The named fields; one with slashes is an inner one, and is brought up under its whole name."""
    found: dict[str, Any] = {}
    for name in fields:
        value: Any = whole
        for part in name.split("/"):
            if not isinstance(value, dict) or part not in value:
                break
            value = value[part]
        else:
            found[name] = value
    return found
