"""Who asks: a key, or nobody in particular where no keys are in use; and what follows from it for one request."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

from starlette.types import Scope as AsgiScope

from feedback import Exchange, without_text
from server.errors import ApiError, BadRequest
from server.keys.limits import NO_LIMITS, Meter
from server.keys.types import Key, Scope, default_of
from server.translate.defaults import Defaults

CALLER = "touchstone.caller"
"""Where a request's scope keeps its `Caller`."""
ANY: Literal["any"] = "any"
"""A key of whatever scope."""
_OPEN = frozenset({"/health", "/ready", "/version", "/v1/health", "/openapi.json"})
"""Asked by what looks after the process; they carry nobody's text."""
_SCOPES: dict[str, Scope] = {
    "/v1/completions": "completions",
    "/v1/chat/completions": "completions",
    "/v1/fim/completions": "completions",
    "/infill": "completions",
    "/props": "completions",
    "/tokenize": "completions",
    "/detokenize": "completions",
    "/v1/rerank/": "completions",
    "/v1/requests/": "completions",
    "/v1/suites": "suites",
    "/v1/suites/": "suites",
    "/v1/feedback": "feedback",
    "/v1/events": "feedback",
    "/v1/dev-data": "feedback",
    "/metrics": "metrics",
    "/admin/": "admin",
}
"""What a path asks of a key; one that ends in a slash stands for all below it."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sent a request."""

    key: Key | None = None
    """None: no keys are in use."""
    meter: Meter = field(default_factory=lambda: Meter(NO_LIMITS, 0.0))
    """Of the key; of everybody where no keys are in use."""

    @property
    def id(self) -> str | None:
        """The key's id, as the log has it."""
        return None if self.key is None else self.key.id

    @property
    def keeps_text(self) -> bool:
        """Whether what was said may be kept."""
        return self.key is None or self.key.privacy == "full"

    @property
    def is_logged(self) -> bool:
        """Whether anything is."""
        return self.key is None or self.key.privacy != "off"

    def require(self, scope: Scope, what: str | None = None) -> None:
        """Raise `ApiError` (403) for a key without this scope; `what` names the field that asks for it."""
        if self.key is not None and scope not in self.key.scopes:
            raise ApiError(
                403, f"the key {self.key.id} lacks the scope {scope!r}", param=what, code="insufficient_permissions"
            )

    def body_limit(self, server_bytes: int) -> int:
        """The bytes of a request body that are read."""
        return min(self.meter.limits.body_bytes or server_bytes, server_bytes)

    def check_choices(self, n: int | None) -> None:
        """Raise `BadRequest` for more choices than this caller may ask for."""
        most = self.meter.limits.choices
        if n is not None and most is not None and n > most:
            raise BadRequest("n", f"this key may ask for {most} choices", code="too_many_choices")

    def defaults(self, server: Defaults) -> Defaults:
        """The server's defaults and caps with the caller's own over them."""
        most = min(self.meter.limits.candidates or server.max_candidates, server.max_candidates)
        if most != server.max_candidates:
            server = replace(server, max_candidates=most, num_candidates=min(server.num_candidates, most))
        if self.key is None:
            return server
        if self.key.profile != server.profile:
            server = replace(server, profile=self.key.profile)
        if self.key.rerank is None:
            return server
        named = default_of(self.key.rerank)
        number = min(named.num_candidates or server.num_candidates, server.max_candidates)
        return replace(server, method=named.method or server.method, num_candidates=number)

    def kept(self, exchange: Exchange) -> Exchange | None:
        """What may be logged of an exchange, under this key's id; None: nothing."""
        if self.key is None:
            return exchange
        if self.key.privacy == "off":
            return None
        kept = replace(exchange, key_id=self.key.id)
        if not self.key.train:
            kept = replace(kept, options={**kept.options, "may_train": False})
        return without_text(kept) if self.key.privacy == "no_text" else kept


NOBODY = Caller()
"""Who asks where it is not known, or nothing is kept of it."""


def scope_of(path: str) -> Scope | Literal["any"] | None:
    """What a path asks of a key: a scope, `any` for a key of whatever scope, or None for no key at all."""
    if path in _OPEN:
        return None
    if path in _SCOPES:
        return _SCOPES[path]
    return next((scope for start, scope in _SCOPES.items() if start[-1] == "/" and path.startswith(start)), ANY)


def caller_of(scope: AsgiScope) -> Caller:
    """Who sent the request of this ASGI scope, which the gateway has found out."""
    caller: Caller = scope[CALLER]
    return caller
