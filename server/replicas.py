"""Several servers of one log: a cancel that comes to one ends what runs at another, and a key's use counts at all.

What they tell each other goes through PostgreSQL (`feedback.Channel`) and is not waited for by any request but a
cancel. So a rate or a number at once may be overdrawn by what the others admit in `TELL_S`. Why so:
docs/decisions/0070.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from dataclasses import astuple
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from feedback import StoreUnavailable
from server.keys.limits import Use
from server.keys.ring import Ring
from server.live import LiveRequests, by_request
from server.shared_answers import SharedAnswers

if TYPE_CHECKING:
    from feedback import Channel

_log = logging.getLogger(__name__)
TELL_S = 0.05
"""Seconds between two looks for what is to be told."""
ANSWER_S = 5.0
"""For which the others' answers to a cancel are waited for; one that is just ending gives none."""
HEAR_S = 2.0
"""For which a cancel waits until this server hears the others again, as after a start of the database."""
_KEYS_A_MESSAGE = 50


class _Asked:
    """A cancel that the others were told of."""

    def __init__(self) -> None:
        self.cancelled: list[str] = []
        self.answers = 0
        self.news = asyncio.Event()


class Replicas:
    """One server among those that share its log. For one event loop; `start` it, `aclose` it."""

    def __init__(
        self,
        open_channel: Callable[[Callable[[dict[str, Any]], None]], Channel],
        live: LiveRequests,
        keys: Ring,
        keep_s: float,
    ) -> None:
        """`open_channel` makes the channel of who is to hear its messages; `keep_s`: for which answers are kept."""
        self._channel = open_channel(self._hear)
        self.answers = SharedAnswers(self._channel, keep_s)
        self._live, self._keys = live, keys
        self._asked: dict[str, _Asked] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Begin to hear and to tell."""
        self._channel.start()
        self._spawn(self._tell())
        self._spawn(self.answers.renewing())

    async def cancel(self, name: str, owner: str | None) -> list[str]:
        """End the owner's requests of that id at the other servers; their ids. Raises `StoreUnavailable`."""
        await self._until_heard()
        others = await self._channel.others()
        number, asked = uuid4().hex, _Asked()
        self._asked[number] = asked
        try:
            await self._channel.say({"cancel": name, "owner": owner, "number": number})
            async with asyncio.timeout(ANSWER_S):
                while asked.answers < others:
                    asked.news.clear()
                    await asked.news.wait()
        except TimeoutError:
            _log.warning("%d of %d other servers answered a cancel", asked.answers, others)
        finally:
            del self._asked[number]
        return asked.cancelled

    async def _until_heard(self) -> None:
        try:
            async with asyncio.timeout(HEAR_S):
                await self._channel.listens.wait()
        except TimeoutError:
            raise StoreUnavailable("the other servers are not heard") from None

    async def aclose(self) -> None:
        """Neither hear nor tell any more."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        await self._channel.aclose()

    def _hear(self, message: dict[str, Any]) -> None:
        if "cancel" in message:
            self._spawn(self._cancelled(message))
        elif "cancelled" in message and (asked := self._asked.get(message["number"])) is not None:
            asked.cancelled += message["cancelled"]
            asked.answers += 1
            asked.news.set()
        elif "used" in message:
            for key_id, use in message["used"].items():
                self._keys.others(message["server"], key_id, Use(*use))

    async def _cancelled(self, message: dict[str, Any]) -> None:
        ended = await self._live.cancel(message["cancel"], message["owner"], by_request())
        await self._say({"cancelled": ended, "number": message["number"]})

    async def _tell(self) -> None:
        """Tell what was used, as long as this server runs."""
        while True:
            used = [(key_id, astuple(use)) for key_id, use in self._keys.untold().items()]
            for start in range(0, len(used), _KEYS_A_MESSAGE):
                part = dict(used[start : start + _KEYS_A_MESSAGE])
                await self._say({"used": part, "server": self._channel.id})
            await asyncio.sleep(TELL_S)

    async def _say(self, message: dict[str, Any]) -> None:
        try:
            await self._channel.say(message)
        except StoreUnavailable as error:
            _log.debug("not told: %s", error)  # the channel says so itself, once

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
