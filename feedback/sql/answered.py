"""Requests that servers of one log must not run twice: who works on one, and what came of it. PostgreSQL alone.

A row is claimed by the server that works on the request, which says again and again that it lives; a claim that was not
renewed for `LAPSES_S` is anybody's. Times are the database's own, so that the servers' clocks do not matter.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from feedback.sql.channel import Channel

LAPSES_S = 5.0

_CLAIM = """
    INSERT INTO answered (name, body_hash, holder, alive_at) VALUES (%(name)s, %(body_hash)s, %(holder)s, now())
    ON CONFLICT (name) DO UPDATE
        SET body_hash = excluded.body_hash, holder = excluded.holder, alive_at = now(), answer = NULL
        WHERE answered.alive_at
            < now() - make_interval(secs => CASE WHEN answered.answer IS NULL THEN %(lapses_s)s ELSE %(keep_s)s END)
    RETURNING name
"""
_HELD = "SELECT body_hash, answer FROM answered WHERE name = %(name)s"
_RENEW = "UPDATE answered SET alive_at = now() WHERE name = ANY(%(names)s) AND holder = %(holder)s AND answer IS NULL"
_KEEP = """
    UPDATE answered SET answer = %(answer)s, alive_at = now()
    WHERE name = %(name)s AND holder = %(holder)s AND answer IS NULL
"""
_GIVE_UP = "DELETE FROM answered WHERE name = %(name)s AND holder = %(holder)s AND answer IS NULL"
_EXPIRE = "DELETE FROM answered WHERE alive_at < now() - make_interval(secs => %(keep_s)s)"


@dataclass(frozen=True, slots=True)
class Held:
    """Another server's request of the same name."""

    body_hash: str
    answer: str | None
    """None: it is worked on."""


class AnsweredRequests:
    """The table, through a server's channel. Everything raises `StoreUnavailable`. `name` and `holder` hold no NUL."""

    def __init__(self, channel: Channel, keep_s: float) -> None:
        """`keep_s`: for which an answer is kept."""
        self._channel = channel
        self._keep_s = keep_s

    async def claim(self, name: str, body_hash: str) -> Held | None:
        """Work on it from now on (None), or what another server does or did."""
        while True:
            said = {"name": name, "body_hash": body_hash, "holder": self._channel.id}
            ours = await self._channel.fetch(_CLAIM, {**said, "lapses_s": LAPSES_S, "keep_s": self._keep_s})
            if ours:
                return None
            rows = await self._channel.fetch(_HELD, said)
            if rows:  # else it was given up in this very moment
                return Held(*rows[0])

    async def renew(self, names: Collection[str]) -> None:
        """Say that this server still works on these."""
        await self._channel.fetch(_RENEW, {"names": list(names), "holder": self._channel.id})

    async def end(self, name: str, answer: str | None) -> None:
        """Keep what came of it, or (None) let whoever asks next work on it."""
        said = {"name": name, "holder": self._channel.id, "answer": answer}
        await self._channel.fetch(_GIVE_UP if answer is None else _KEEP, said)

    async def expire(self) -> None:
        """Delete what is kept no longer, and what nobody works on any more."""
        await self._channel.fetch(_EXPIRE, {"keep_s": self._keep_s + LAPSES_S})
