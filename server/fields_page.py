"""The table of fields in `docs/api.md`, from the wire models: what becomes of each on each route that samples or ranks.

A field is honoured unless its model marks it (`Effect`), a translation refuses it, or the engine may not have it; a
test sends each to each route and checks that the table is true.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from engine import Sampling, docstrings
from reranker import Options
from server.config import ServerConfig
from server.translate.candidates import OF_SAMPLING
from server.translate.chat import REFUSED
from server.wire.base import Asks, Effect
from server.wire.candidates import CandidatesRequest
from server.wire.chat import ChatRequest
from server.wire.completions import CompletionRequest
from server.wire.fim import FimRequest, InfillRequest

PAGE = Path(__file__).resolve().parents[1] / "docs" / "api.md"
BEGIN, END = "<!-- fields: written by make docs -->\n", "<!-- end of fields -->\n"
ROUTES: dict[str, type[Asks]] = {
    "completions": CompletionRequest,
    "chat": ChatRequest,
    "fim": FimRequest,
    "infill": InfillRequest,
    "candidates": CandidatesRequest,
}
YES, ENGINE = "yes", "engine"
_ENGINES = frozenset(
    {"top_k", "min_tokens", "presence_penalty", "frequency_penalty", "repetition_penalty", "logit_bias", "logprobs"}
) | {"top_logprobs", "suffix"}
"""What an engine or a model may not have; then it is refused by name."""
_HEAD = "| field | completions | chat | fim | infill | candidates | default | |\n|---|---|---|---|---|---|---|---|\n"


def effects() -> dict[str, dict[str, str]]:
    """Of each field, by its path, what becomes of it by route; a route that does not know it is not there."""
    found: dict[str, dict[str, str]] = {}
    for route, model in ROUTES.items():
        for path, field in _fields(model, ""):
            found.setdefault(path, {})[route] = _effect(route, path, field)
    return found


def table() -> str:
    """The whole table."""
    texts, fields = _texts(), _by_route()
    defaults = _defaults()
    rows = []
    for path, by_route in effects().items():
        cells = " | ".join(by_route.get(route, "") for route in ROUTES)
        default = defaults.get(path, _default(fields[path]))
        rows.append(f"| `{path}` | {cells} | {default} | {texts.get(path, '')} |")
    return _HEAD + "\n".join(rows) + "\n"


def page(text: str) -> str:
    """`docs/api.md` with today's table. Raises `ValueError` where it has no place for it."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{PAGE.name} lacks {BEGIN.strip()} or {END.strip()}")
    return before + BEGIN + "\n" + table() + "\n" + END + after


def _fields(model: type[BaseModel], prefix: str) -> Iterator[tuple[str, FieldInfo]]:
    """Every field with its path as a client writes it; those of an inner object behind it."""
    for name, field in model.model_fields.items():
        path = prefix + (field.alias or name)
        yield path, field
        inner, many = _inner(field.annotation)
        if inner is not None:
            yield from _fields(inner, f"{path}[]." if many else f"{path}.")


def _inner(annotation: Any, many: bool = False) -> tuple[type[BaseModel] | None, bool]:
    """The model inside an annotation, if there is one, and whether a list holds it."""
    if inspect.isclass(annotation) and issubclass(annotation, BaseModel):
        return annotation, many
    for part in get_args(annotation):
        found, listed = _inner(part, many or getattr(annotation, "__origin__", None) is list)
        if found is not None:
            return found, listed
    return None, many


def _effect(route: str, path: str, field: FieldInfo) -> str:
    for mark in field.metadata:
        if isinstance(mark, Effect):
            return str(mark.value)
    refused = {"chat": set(REFUSED), "candidates": {f"rerank.{name.rstrip('_')}" for name in OF_SAMPLING}}
    if path in refused.get(route, ()):
        return str(Effect.REFUSED.value)
    return ENGINE if path in _ENGINES else YES


def _by_route() -> dict[str, dict[str, FieldInfo]]:
    found: dict[str, dict[str, FieldInfo]] = {}
    for route, model in ROUTES.items():
        for path, field in _fields(model, ""):
            found.setdefault(path, {})[route] = field
    return found


def _texts() -> dict[str, str]:
    """The docstrings under the fields, by path."""
    found: dict[str, str] = {}

    def look(model: type[BaseModel], prefix: str) -> None:
        texts = docstrings(model)
        for name, field in model.model_fields.items():
            path = prefix + (field.alias or name)
            if name in texts:
                found.setdefault(path, texts[name].replace("|", "\\|"))
            inner, many = _inner(field.annotation)
            if inner is not None:
                look(inner, f"{path}[]." if many else f"{path}.")

    for model in ROUTES.values():
        look(model, "")
    return found


def _defaults() -> dict[str, str]:
    """What a request gets that does not say, where the model's own default is not that."""
    server, sampling, options = ServerConfig(), Sampling(), Options()
    tokens = f"{server.default_max_tokens}; gaps {server.default_max_tokens_fim}"
    return {
        "model": "the champion",
        "n": str(options.n),
        "temperature": f"{sampling.temperature:g}",
        "top_p": f"{sampling.top_p:g}",
        "max_tokens": tokens,
        "n_predict": str(server.default_max_tokens_fim),
        "rerank.method": f"{server.default_method}; gaps {server.default_method_fim}, "
        f"streams {server.default_method_stream}",
        "rerank.num_candidates": str(server.default_candidates),
        "rerank.temperature": f"{server.candidate_temperature:g}",
        "rerank.top_p": f"{server.candidate_top_p:g}",
        "rerank.include_greedy": str(options.include_greedy).lower(),
        "rerank.dedupe": options.dedupe,
        "rerank.examples": options.examples,
        "rerank.early_exit": options.early_exit,
        "rerank.on_error": options.on_error,
        "rerank.return": "selected",
    }


def _default(fields: dict[str, FieldInfo]) -> str:
    """Of a field, by the routes that know it."""
    needed = [route for route, field in fields.items() if field.is_required()]
    if needed:
        return "needed" if len(needed) == len(fields) else f"needed on {', '.join(needed)}"
    value = next(iter(fields.values())).get_default(call_default_factory=True, validated_data={})
    if value is None or value == "":
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)
