"""How much a key may ask for: rates by token buckets, requests at once, sizes.

Pure; `now_s` are `time.monotonic()` seconds.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from server.errors import ApiError

Most = Annotated[int, Field(ge=1)] | None
_MINUTE_S = 60.0
FORGOTTEN_S = 3.0
"""After which a server that says nothing more of what runs there has ended."""


class KeyLimits(BaseModel):
    """`[limits]`: what each key may ask for, and everybody together where no keys are in use. A key's own limits
    (`touchstone keys create --limit`) stand in for these, one by one. None: no limit.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    requests_per_minute: Most = None
    """Generations begun in a minute; so many may come at once after a pause."""
    tokens_per_minute: Most = None
    """Prompt and sampled tokens in a minute, discarded candidates included. What a request took is told when it has
    ended, so the last one admitted may overdraw; the next waits until that is made up for."""
    concurrency: Most = None
    """Generations under way at once."""
    body_bytes: Annotated[int, Field(ge=1024)] | None = None
    """A larger request body is refused (413); at most `server.body_limit_bytes` counts."""
    prompt_tokens: Most = None
    """Tokens of one prompt. An upstream server counts its prompts itself, afterwards: there four bytes of text count as
    a token."""
    candidates: Most = None
    """Candidates a prompt; at most `server.max_candidates` counts."""
    choices: Most = None
    """The most that `n` may ask for."""

    def over(self, others: KeyLimits) -> KeyLimits:
        """These, and where there are none, the others."""
        return others.model_copy(update={name: value for name, value in self if value is not None})


NO_LIMITS = KeyLimits()


class Bucket:
    """Holds a minute's worth and fills evenly. May be overdrawn."""

    def __init__(self, per_minute: int, now_s: float) -> None:
        self.per_minute = per_minute
        self._level = float(per_minute)
        self._at_s = now_s

    def level(self, now_s: float) -> float:
        """What is in it now."""
        self._level = min(self.per_minute, self._level + (now_s - self._at_s) * self.per_minute / _MINUTE_S)
        self._at_s = now_s
        return self._level

    def take(self, amount: float, now_s: float) -> None:
        """Take out, whether it is there or not."""
        self._level = self.level(now_s) - amount

    def wait_s(self, amount: float, now_s: float) -> float:
        """Seconds until so much is in it."""
        return max(0.0, amount - self.level(now_s)) * _MINUTE_S / self.per_minute


@dataclass(frozen=True, slots=True)
class Use:
    """What a server admitted of one key: since it was last told, and how many run at the moment."""

    requests: int
    tokens: int
    running: int


class Meter:
    """What one key has used. For one event loop; what other servers admitted comes by `others`."""

    def __init__(self, limits: KeyLimits, now_s: float) -> None:
        self.limits = limits
        self._running = 0
        self._buckets = _buckets(limits, now_s)
        self._untold = Use(0, 0, 0)
        self._told, self._told_at_s = 0, now_s
        self._elsewhere: dict[str, tuple[int, float]] = {}

    def change(self, limits: KeyLimits, now_s: float) -> None:
        """Go by other limits from now on; what runs goes on to count."""
        if limits != self.limits:
            self.limits, self._buckets = limits, _buckets(limits, now_s)

    @contextlib.contextmanager
    def admitted(self, now_s: float) -> Iterator[None]:
        """Count a request as under way. Raises `ApiError` (429) with the time to wait, and then nothing is counted."""
        most = self.limits.concurrency
        if most is not None and self._running + self._running_elsewhere(now_s) >= most:
            raise _refused(f"this key may have {most} requests under way at once", "concurrency_limit_exceeded", 1.0)
        for name, bucket in self._buckets.items():
            if (wait_s := bucket.wait_s(1.0, now_s)) > 0:
                raise _refused(f"this key may use {bucket.per_minute} {name} a minute", "rate_limit_exceeded", wait_s)
        if "requests" in self._buckets:
            self._buckets["requests"].take(1.0, now_s)
            self._untold = replace(self._untold, requests=self._untold.requests + 1)
        self._running += 1
        try:
            yield
        finally:
            self._running -= 1

    def spend(self, tokens: int, now_s: float) -> None:
        """A request took so many tokens."""
        if "tokens" in self._buckets:
            self._buckets["tokens"].take(tokens, now_s)
            self._untold = replace(self._untold, tokens=self._untold.tokens + tokens)

    def untold(self, now_s: float) -> Use | None:
        """What other servers should be told now; None: nothing, or nothing that they would count."""
        running = 0 if self.limits.concurrency is None else self._running
        lapses = running and now_s - self._told_at_s > FORGOTTEN_S / 3
        use = replace(self._untold, running=running)
        if use == Use(0, 0, self._told) and not lapses:
            return None
        self._told, self._told_at_s, self._untold = running, now_s, Use(0, 0, 0)
        return use

    def others(self, server: str, use: Use, now_s: float) -> None:
        """Another server admitted so much."""
        for name, amount in (("requests", use.requests), ("tokens", use.tokens)):
            if name in self._buckets:
                self._buckets[name].take(amount, now_s)
        self._elsewhere[server] = (use.running, now_s)

    def _running_elsewhere(self, now_s: float) -> int:
        return sum(running for running, at_s in self._elsewhere.values() if now_s - at_s < FORGOTTEN_S)

    def headers(self, now_s: float) -> list[tuple[bytes, bytes]]:
        """How each rate stands, as OpenAI names it."""
        found: list[tuple[bytes, bytes]] = []
        for name, bucket in self._buckets.items():
            left, full_in_s = max(0, int(bucket.level(now_s))), bucket.wait_s(bucket.per_minute, now_s)
            stands = {"limit": str(bucket.per_minute), "remaining": str(left), "reset": f"{full_in_s:.3f}s"}
            found += [(f"x-ratelimit-{word}-{name}".encode(), value.encode()) for word, value in stands.items()]
        return found


def _buckets(limits: KeyLimits, now_s: float) -> dict[str, Bucket]:
    rates = {"requests": limits.requests_per_minute, "tokens": limits.tokens_per_minute}
    return {name: Bucket(rate, now_s) for name, rate in rates.items() if rate is not None}


def _refused(message: str, code: str, wait_s: float) -> ApiError:
    return ApiError(429, message, code=code, retry_after_s=wait_s)
