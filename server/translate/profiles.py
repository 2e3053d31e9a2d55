"""The profile of a request: where its name comes from, and which of its settings something stronger overrules.

Body > header > model-name suffix > key's default. The strongest source that names a profile decides which it is; a
setting of it counts where neither that source says otherwise itself nor a stronger one does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from server.errors import BadRequest
from server.translate.defaults import Defaults, Headers
from server.translate.names import Named
from server.wire.base import RerankFields

_BODY, _HEADER, _MODEL, _KEY = range(4)
_SOURCES = ("rerank.profile", "X-Rerank-Profile", "model", "the key's profile")


@dataclass(frozen=True, slots=True, kw_only=True)
class Profiled:
    """What is asked, with the profile's settings in it."""

    fields: RerankFields | None
    """None: nothing, neither by the request nor by a profile it names."""
    name: str = ""
    """The profile's; empty: none counts."""
    source: str = ""
    """What named it, for messages."""
    taken: frozenset[str] = frozenset()
    """The settings that are the profile's."""
    by_default: bool = False
    """The key's default, not the request, named it."""


def with_profile(
    fields: RerankFields | None,
    headers: Headers,
    named: Named,
    defaults: Defaults,
    *,
    best_of: int | None,
    plain: bool,
) -> Profiled:
    """Put the request's profile under what it says. `plain`: no gap and no stream, which key defaults leave alone.

    Raises `BadRequest` for an unknown profile, naming who asked for it.
    """
    names = (fields and fields.profile, headers.get("x-rerank-profile"), named.profile, defaults.profile)
    rank = next((rank for rank, name in enumerate(names) if name), None)
    bare = best_of is not None and fields is None
    if rank is None or (rank == _KEY and (not plain or bare)):
        return Profiled(fields=fields)
    name, source = str(names[rank]), _SOURCES[rank]
    profile = defaults.profiles.get(name)
    if profile is None:
        known = ", ".join(defaults.profiles) or "none is configured"
        raise BadRequest(source, f"unknown profile {name!r}; known: {known}", code="unknown_profile")
    asked = fields or RerankFields()
    method = asked.method or (rank >= _HEADER and headers.get("x-rerank")) or (rank >= _KEY and named.method)
    if method == "off":
        return Profiled(fields=fields)
    overruled = _overruled(asked, headers, named, rank, best_of) | ({"method"} if method else set())
    update: dict[str, Any] = {
        each: value
        for each, value in profile
        if value is not None and getattr(asked, each) is None and each not in overruled
    }
    number = update.get("num_candidates")
    if rank == _KEY and isinstance(number, int):
        update["num_candidates"] = min(number, defaults.max_candidates)
    return Profiled(
        fields=asked.model_copy(update=update),
        name=name,
        source=source,
        taken=frozenset(update),
        by_default=rank == _KEY,
    )


def _overruled(asked: RerankFields, headers: Headers, named: Named, rank: int, best_of: int | None) -> set[str]:
    """Settings that something says which is as strong as the profile's source, or stronger."""
    found: set[str] = set()
    by_header = rank >= _HEADER and "x-rerank-n" in headers
    by_name = rank >= _KEY and named.num_candidates is not None
    if asked.num_candidates is not None or best_of is not None or by_header or by_name:
        found |= {"num_candidates", "max_candidates"}
    if rank >= _HEADER and "x-rerank-deadline-ms" in headers:
        found.add("deadline_ms")
    return found
