"""`POST /v1/completions`, from wire to domain."""

from __future__ import annotations

from typing import Any

from engine import Fim, Prompt, Text, TokenIds, find_layout, tokens_of_layout
from reranker import Task
from server.errors import BadRequest
from server.translate.ask import Ask
from server.translate.common import check_logprobs, client_of, ignored_keys, options_of
from server.translate.defaults import Defaults, Headers
from server.translate.names import resolve, told
from server.translate.rerank import Wanted, resolve_rerank
from server.wire.completions import CompletionRequest
from server.wire.fim import Segments, SegmentsSnippet


def completion_ask(wire: CompletionRequest, headers: Headers, defaults: Defaults, *, id: str, peer: str = "") -> Ask:  # noqa: A002 - the API's word
    """Understand a completion request. Raises `BadRequest` naming the field, `NotFound` for another model."""
    info = defaults.info
    ignored = ignored_keys(wire)
    wire, files, path, normalised = _in_openais_words(wire, info.fim)
    prompts = _prompts(wire.prompt)
    if len(prompts) > defaults.max_prompts:
        raise BadRequest("prompt", f"at most {defaults.max_prompts} prompts", code="too_many_prompts")
    fim = _is_fim(wire, info.fim)
    stream = bool(wire.stream)
    named = resolve(wire.model, info.model, defaults.methods, defaults.also, defaults.profiles)
    client = client_of(headers, wire.user, peer)
    wanted = resolve_rerank(
        wire.rerank, headers, named, defaults, n=wire.n or 1, best_of=wire.best_of, fim=fim, stream=stream
    )
    if wanted.suite is not None and (len(prompts) > 1 or not isinstance(prompts[0], str)):
        raise BadRequest("rerank.tests", "tests judge one prompt, given as text", code="conflict")
    if wire.echo and (wire.logprobs is not None or not all(isinstance(prompt, str) for prompt in prompts)):
        raise BadRequest("echo", "only text prompts are echoed, and without logprobs", code="unsupported_field")
    check_logprobs("logprobs", wire.logprobs, info)
    options = options_of(wire, wanted, client, defaults, logprobs=wire.logprobs, max_tokens=wire.max_tokens, fim=fim)
    return Ask(
        id=id,
        route="completions",
        model=told(wire.model, info.model),
        tasks=tuple(
            _task(id, i, prompt, wire.suffix if fim else None, wanted, files, path) for i, prompt in enumerate(prompts)
        ),
        options=options,
        client=client,
        stream=stream,
        include_usage=wire.stream_options is not None and wire.stream_options.include_usage,
        logprobs=wire.logprobs,
        echo=bool(wire.echo),
        return_all=wanted.return_all,
        profile=wanted.profile,
        ignored=ignored,
        normalised=normalised,
    )


def exchange_id(id: str, position: int) -> str:  # noqa: A002 - the API's word
    """The log's key for one prompt of a request: the reply's id for the first, numbered after it."""
    return id if position == 0 else f"{id}.{position}"


Files = tuple[tuple[str, str], ...]


def _in_openais_words(wire: CompletionRequest, layout: str | None) -> tuple[CompletionRequest, Files, str, str]:
    """The request without its aliases, its other files, its own path, and from which layout to which it was put."""
    options = wire.options
    aliases = (wire.n_predict, wire.max_new_tokens, None if options is None else options.num_predict)
    change: dict[str, Any] = {}
    if wire.max_tokens is None and (given := [number for number in aliases if number is not None and number > 0]):
        change["max_tokens"] = given[0]
    for name in ("temperature", "top_p", "stop"):
        if options is not None and getattr(wire, name) is None:
            change[name] = getattr(options, name)
    if wire.segments is not None:
        if wire.prompt is not None or wire.suffix is not None:
            raise BadRequest("segments", "give it or prompt and suffix, not both", code="conflict")
        segments = wire.segments
        change |= {"prompt": segments.prefix, "suffix": segments.suffix or ""}
        return wire.model_copy(update=change), _files(segments), segments.filepath or "", ""
    if wire.prompt is None:
        raise BadRequest("prompt", "Field required", code="missing")
    found = None
    if isinstance(wire.prompt, str) and wire.suffix is None and wire.fim != "raw" and layout is not None:
        found = find_layout(wire.prompt)
    if found is None:
        return wire.model_copy(update=change) if change else wire, (), "", ""
    change |= {"prompt": found.before + found.prefix, "suffix": found.suffix}
    theirs, ours = tokens_of_layout(found.layout), tokens_of_layout(layout or "")
    normalised = "" if found.exact and theirs == ours else f"{found.layout}->{layout}"
    return wire.model_copy(update=change), (), "", normalised


def _files(segments: Segments) -> Files:
    """What may help, the most helpful last: what was changed lately, then what the cursor's code names."""
    found: list[SegmentsSnippet] = []
    for some in (
        segments.relevant_snippets_from_recently_opened_files,
        segments.relevant_snippets_from_changed_files,
        segments.declarations,
    ):
        found += some or ()
    return tuple((each.filepath, each.body) for each in found)


def _prompts(prompt: str | list[int] | list[str] | list[list[int]] | None) -> list[str | tuple[int, ...]]:
    if isinstance(prompt, str):
        return [prompt]
    if not prompt:
        raise BadRequest("prompt", "is empty", code="invalid_value")
    if isinstance(prompt[0], int):
        prompt = [prompt]  # pydantic has checked that all are
    found = [text if isinstance(text, str) else tuple(text) for text in prompt]
    for ids in found:
        if not isinstance(ids, str) and (not ids or min(ids) < 0):
            raise BadRequest("prompt", "token ids must be a list of at least one, none negative", code="invalid_value")
    return found


def _is_fim(wire: CompletionRequest, layout: str | None) -> bool:
    """Whether to fill in the middle. An empty suffix is one where the model can, and nothing where it cannot."""
    if wire.suffix is None:
        return False
    if layout is None:
        if wire.suffix:
            raise BadRequest("suffix", "the served model cannot fill in the middle", code="unsupported_field")
        return False
    return True


def _task(
    id: str,  # noqa: A002
    position: int,
    prompt: str | tuple[int, ...],
    suffix: str | None,
    wanted: Wanted,
    files: Files,
    path: str,
) -> Task:
    key = exchange_id(id, position)
    entry_point = wanted.fields.tests.entry_point if wanted.fields.tests is not None else None
    if not isinstance(prompt, str):
        if suffix is not None:
            raise BadRequest("suffix", "filling in the middle needs a text prompt", code="unsupported_field")
        return Task(id=key, prompt=TokenIds(prompt))
    middle: Prompt = Text(prompt) if suffix is None else Fim(prompt, suffix, files, path if files else "")
    return Task(
        id=key,
        prompt=middle,
        shape="completion" if suffix is None else "fim",
        prefix=prompt,
        suffix=suffix or "",
        entry_point=entry_point,
        suite=wanted.suite,
    )
