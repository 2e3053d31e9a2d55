"""Model names: `<family>:<size>-<dtype>.r<round>`, with `+<method><number of candidates>` to ask for reranking."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache

from reranker import needs_of
from server.errors import NotFound

_ROUND = re.compile(r"\.r(\d+)$")


@dataclass(frozen=True, slots=True)
class Named:
    """What a model name asks for."""

    method: str | None = None
    num_candidates: int | None = None
    profile: str | None = None
    """Instead of both."""


@lru_cache
def round_of(model: str) -> int:
    """The training round in a model's name; 0 for a model that had none."""
    found = _ROUND.search(model)
    return int(found.group(1)) if found else 0


def without_round(model: str) -> str:
    """The name that means the model of now, whatever its round."""
    return _ROUND.sub("", model)


def base_of(name: str) -> str:
    """A model name without what it asks of the reranker."""
    return name.rpartition("+")[0] if "+" in name else name


def told(name: str | None, served: str) -> str:
    """A name as the reply gives it: as the client wrote it, unless that is the name of another model."""
    if not name:
        return served
    base = base_of(name)
    return name if base in (served, without_round(served)) else served + name[len(base) :]


def resolve(
    name: str | None,
    served: str,
    methods: Collection[str],
    also: Collection[str] = (),
    profiles: Collection[str] = (),
) -> Named:
    """Understand the request's `model`: the served model, whole or without its round, perhaps with a suffix.

    `also`: further names it answers to; a suffix is one of `profiles` before it is a method. None and the empty string
    mean the served model. Raises `NotFound` (404) for anything else.
    """
    if not name:
        return Named()
    base, plus, suffix = name.rpartition("+") if "+" in name else (name, "", "")
    if base not in (served, without_round(served), *also):
        raise NotFound(
            f"the model {name!r} does not exist; this server serves {served!r}", param="model", code="model_not_found"
        )
    if not plus:
        return Named()
    if suffix in profiles:
        return Named(profile=suffix)
    named = named_by(suffix, methods)
    if named is None:
        known = ", ".join([*profiles, *sorted({"off", "auto", *methods})])
        raise NotFound(
            f"the model suffix {'+' + suffix!r} is not known; known: {known}, with a number from 1",
            param="model",
            code="model_not_found",
        )
    return named


def named_by(word: str, methods: Collection[str]) -> Named | None:
    """What `off`, `auto16`, `examples8`, ... ask for; None for no such word."""
    known = {"off", "auto", *methods}
    if word in known:
        return Named(word)
    # The longest first: a method's own name may end in a digit.
    for method in sorted(known - {"off"}, key=len, reverse=True):
        number = word.removeprefix(method)
        if number != word and number.isascii() and number.isdigit() and int(number[:9]) > 0:
            return Named(method, int(number[:9]))
    return None


def usable(
    served: str, methods: Collection[str], num_candidates: int, *, can_run: bool, profiles: Collection[str] = ()
) -> list[str]:
    """Every name that can be used as it is, the plain one first; `tests` needs a suite, which a name cannot carry."""
    ready = [method for method in methods if method != "tests" and (can_run or not needs_of(method))]
    words = ["off", "auto", *(f"{method}{num_candidates}" for method in ready)]
    return [served, *(f"{served}+{word}" for word in dict.fromkeys([*profiles, *words]))]
