"""Web pages that may ask this server: none, unless `server.cors_origins` names where they come from.

A browser sends `Origin` with every POST of a page, and with what else goes to another site. Where no keys are in use,
the server trusts whoever reaches it, and a page on the internet reaches its visitor's own machine: it could not read a
reply, but what it asks for would be done. So it is refused. Where keys are in use, a page would need one.
"""

from __future__ import annotations

from collections.abc import Collection

from starlette.types import Scope

from server.errors import ApiError

_METHODS = b"GET, POST"
_HEADERS = (
    b"authorization, content-type, idempotency-key, x-api-key, x-priority, x-purpose, x-request-id, x-rerank, "
    b"x-rerank-deadline-ms, x-rerank-n, x-rerank-profile, x-session-id"
)
_EXPOSED = (
    b"retry-after, server-timing, x-model-round, x-ratelimit-limit-requests, x-ratelimit-limit-tokens, "
    b"x-ratelimit-remaining-requests, x-ratelimit-remaining-tokens, x-ratelimit-reset-requests, "
    b"x-ratelimit-reset-tokens, x-request-id, x-rerank-score, x-rerank-status, x-seed-honoured, x-touchstone-ignored, "
    b"x-fim-normalized, x-fim-truncated"
)
HeaderPairs = list[tuple[bytes, bytes]]


class Origins:
    """Whose pages may ask."""

    def __init__(self, allowed: Collection[str]) -> None:
        self._allowed = frozenset(origin.encode("ascii") for origin in allowed)

    def check(self, scope: Scope, *, keys_in_use: bool) -> None:
        """Raise `ApiError` (403) for another site's page, where nothing else would keep it out."""
        origin = _header(scope, b"origin")
        if origin is not None and origin not in self._allowed and not keys_in_use:
            raise ApiError(
                403, "web pages of this origin may not ask this server (server.cors_origins)", code="foreign_origin"
            )

    def headers(self, scope: Scope) -> HeaderPairs:
        """What lets an allowed page read the reply; nothing for others."""
        origin = _header(scope, b"origin")
        if origin is None or origin not in self._allowed:
            return []
        return [
            (b"access-control-allow-origin", origin),
            (b"access-control-expose-headers", _EXPOSED),
            (b"vary", b"origin"),
        ]

    def preflight(self, scope: Scope) -> HeaderPairs:
        """The answer to a browser that asks first whether an allowed page may; empty where this is no such question."""
        if scope["method"] != "OPTIONS" or _header(scope, b"access-control-request-method") is None:
            return []
        if not self.headers(scope):
            return []
        return [
            (b"access-control-allow-methods", _METHODS),
            (b"access-control-allow-headers", _HEADERS),
            (b"access-control-max-age", b"600"),
        ]


def _header(scope: Scope, name: bytes) -> bytes | None:
    return next((value for each, value in scope["headers"] if each == name), None)
