"""A key as it is kept: never its secret, only a hash of it; what it may do, and what is kept of its requests."""

from __future__ import annotations

import hashlib
import secrets
from datetime import UTC, datetime
from typing import Literal, get_args

from pydantic import AwareDatetime, BaseModel, ConfigDict, field_validator, model_validator

from reranker import LEARNED, METHODS
from server.keys.limits import KeyLimits
from server.translate.names import Named, named_by

Scope = Literal["completions", "rerank:tests", "suites", "feedback", "admin", "metrics"]
Privacy = Literal["full", "no_text", "off"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
USUAL: tuple[Scope, ...] = ("completions", "rerank:tests", "feedback")
"""What a key may do unless told otherwise: what an editor needs."""
_PREFIX = "ts"
_SECRET_BYTES = 32


class Key(BaseModel):
    """One key; frozen."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str
    """In the log, in place of the secret."""
    name: str
    """For people."""
    digest: str
    """SHA-256 of the secret, hexadecimal. It needs no salt and no slow hash: a secret is 256 random bits."""
    created_at: AwareDatetime
    expires_at: AwareDatetime | None = None
    revoked_at: AwareDatetime | None = None
    scopes: tuple[Scope, ...] = USUAL
    privacy: Privacy = "full"
    """`no_text`: hashes and numbers alone are logged; `off`: nothing is."""
    train: bool = True
    """Whether what is logged may be trained on."""
    limits: KeyLimits = KeyLimits()
    """Its own, in place of the server's."""
    rerank: str | None = None
    """Method and number of candidates of plain completions and chats that ask for none: `auto16`, `off`."""
    profile: str | None = None
    """A profile of the server's for them, instead of `rerank`."""

    @field_validator("rerank")
    @classmethod
    def _known(cls, word: str | None) -> str | None:
        if word is not None:
            default_of(word)
        return word

    @model_validator(mode="after")
    def _one_default(self) -> Key:
        if self.rerank is not None and self.profile is not None:
            raise ValueError("profile: give it or rerank, not both")
        return self

    def why_not(self, now: datetime) -> str | None:
        """Why it is not accepted; None where it is."""
        if self.revoked_at is not None:
            return "was revoked"
        return "has expired" if self.expires_at is not None and self.expires_at <= now else None


def default_of(word: str) -> Named:
    """What a key's `rerank` asks for. Raises `ValueError`; `tests` is no default, as it needs a suite."""
    named = named_by(word, tuple(method for method in (*METHODS, *LEARNED) if method != "tests"))
    if named is None:
        raise ValueError(f"unknown default {word!r}: off, auto or a method, with a number of candidates or without")
    return named


def new_key(name: str, **what: object) -> tuple[Key, str]:
    """A new key and its secret, which is kept nowhere. Raises `ValidationError`."""
    number = secrets.token_hex(6)
    secret = f"{_PREFIX}-{number}-{secrets.token_urlsafe(_SECRET_BYTES)}"
    fields = {"id": f"key-{number}", "name": name, "digest": digest_of(secret), "created_at": datetime.now(UTC)}
    return Key.model_validate({**fields, **what}), secret


def digest_of(secret: str) -> str:
    """What is kept of a secret."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
