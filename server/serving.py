"""The service of one process from load to close, whatever HTTP server it stands behind."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from starlette.types import ASGIApp

from engine import EngineError
from feedback import FeedbackError
from server.app import app_of
from server.asgi import cancel
from server.build import build, follow
from server.config import Config
from server.service import Parts, Service
from server.upkeep import Upkeep

_log = logging.getLogger(__name__)

Make = Callable[[Config], Awaitable[Parts]]


class Serving:
    """Loads in the background, follows the champion, judges challengers, keeps the log to its days, closes."""

    def __init__(
        self,
        config: Config,
        make: Make = build,
        *,
        loaded: Callable[[Parts], None] = lambda parts: None,
        failed: Callable[[], None] = lambda: None,
        load_first: bool = False,
    ) -> None:
        """`loaded` or `failed` is called once; `service.failure` then says why.

        `load_first`: the app starts only once all is loaded, and fails to where it cannot be (`RuntimeError`).
        """
        self.service = Service(config)
        self.app: ASGIApp = app_of(self.service, self._lifespan)
        self._config, self._make, self._load_first = config, make, load_first
        self._loaded, self._failed = loaded, failed
        self._judging: asyncio.Task[None] | None = None
        self._following: asyncio.Task[None] | None = None
        self._keeping: asyncio.Task[None] | None = None

    @contextlib.asynccontextmanager
    async def _lifespan(self, app: Any) -> AsyncIterator[None]:
        loading = asyncio.create_task(self._load())
        try:
            if self._load_first:
                await asyncio.wait([loading])
                if self.service.failure is not None:
                    raise RuntimeError(self.service.failure)
            yield
        finally:
            # A load that has begun is waited for: threads in the middle of it would outlive the interpreter.
            await asyncio.wait([loading])
            await cancel(*(task for task in (self._judging, self._keeping) if task is not None))
            await self.service.aclose()
            if self._following is not None:
                await asyncio.wait([self._following])  # told to stop; what it had begun to load was waited for

    async def _load(self) -> None:
        try:
            parts = await self._make(self._config)
        except Exception as error:  # noqa: BLE001 - whatever it is, the process says so and ends
            _log.debug("loading failed", exc_info=error)
            ours = isinstance(error, (EngineError, FeedbackError))
            self.service.failure = str(error) if ours else f"{type(error).__name__}: {error}"
            self._failed()
            return
        self.service.begin(parts)
        follow(self.service, parts)
        gc.freeze()  # a full collection would look at all of it again and again, each time for 0.05 s without an answer
        self._watch()
        self._loaded(parts)

    def _watch(self) -> None:
        """Follow the champion, judge its challengers and keep the log to its days, until the process ends."""
        service = self.service
        self._keeping = asyncio.create_task(Upkeep(service.store, self._config.feedback.keep_days).watch())
        if service.contest is not None:
            self._judging = asyncio.create_task(service.contest.watch())
        if service.switching is not None and self._config.server.champion_poll_s:
            self._following = asyncio.create_task(service.switching.watch())
