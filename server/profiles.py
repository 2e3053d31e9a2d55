"""`[profiles.<name>]`: named sets of reranking settings, asked for by one word."""

from __future__ import annotations

import re
from collections.abc import Mapping

from pydantic import ConfigDict, model_validator

from reranker import LEARNED, METHODS
from server.wire.base import RERANK_WORDS, RerankFields

_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")
REQUESTS_OWN = ("tests", "profile")
_TAKEN = ("off", "auto", *METHODS, *LEARNED)


class Profile(RerankFields):
    """What a request may say in `rerank`, without its tests. What the request says itself goes before these."""

    model_config = ConfigDict(frozen=True)

    @model_validator(mode="after")
    def _fits(self) -> Profile:
        for name in REQUESTS_OWN:
            if getattr(self, name) is not None:
                raise ValueError(f"{name}: is a request's own")
        if self.method is not None and self.method not in _TAKEN:
            raise ValueError(f"method: unknown method {self.method!r}; known: {', '.join(_TAKEN)}")
        for name, words in RERANK_WORDS.items():
            if getattr(self, name) not in (None, *words):
                raise ValueError(f"{name.rstrip('_')}: must be one of {', '.join(words)}")
        if self.max_candidates is not None and self.num_candidates != "auto":
            raise ValueError("max_candidates: goes with num_candidates 'auto' only")
        return self


def check_profiles(profiles: Mapping[str, Profile], max_candidates: int) -> None:
    """Raise `ValueError` for a name that cannot stand in a model's name, and for more candidates than any may ask."""
    for name, profile in profiles.items():
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r}: a name has lower-case letters, digits, '_', '-' and '.', at most 64")
        if name in _TAKEN:
            raise ValueError(f"{name!r} is the name of a method")
        most = profile.max_candidates if profile.num_candidates == "auto" else profile.num_candidates
        if isinstance(most, int) and most > max_candidates:
            raise ValueError(f"{name}: more candidates than server.max_candidates ({max_candidates})")
