"""One loaded model: its engine, its scorers and what follows from them, with leases.

A request takes a lease once, where it is admitted, and does everything with that model, so no reply mixes two. A model
that was replaced is freed when its last lease is given back. All on the event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from engine import Engine, EngineInfo
from reranker import METHODS, Loaded, Scorer
from server.config import Config
from server.translate.defaults import Defaults
from server.translate.names import round_of

ANSWERED = "touchstone.answered"
"""Where a request's scope keeps its `Answered`."""


@dataclass(slots=True)
class Answered:
    """Of which round the model is that answers a request: set where it takes its lease, read where its reply's headers
    are written. With the request's id, for the routes, and how it ended.
    """

    round: int | None = None
    request_id: str = ""
    """As the reply's `X-Request-Id` tells it."""
    complete: bool = False
    """Whether all of the reply was said: neither broken off midway nor left by its client."""
    ranking_s: float | None = None
    """Of a plain reply, the wall time of its rankings."""


class Served:
    """A model that answers. `id` is its folder's name; None for what is no model folder of ours."""

    def __init__(self, config: Config, engine: Engine, loaded: Loaded, *, can_run: bool, id: str | None = None) -> None:  # noqa: A002 - the manifest's own word
        self.id = id
        self.engine = engine
        self.defaults = _defaults(config, engine.info, tuple(loaded.scorers), can_run=can_run)
        self._loaded = loaded
        self._leases = 0
        self._unused = asyncio.Event()
        self._unused.set()

    @property
    def info(self) -> EngineInfo:
        return self.engine.info

    @property
    def round(self) -> int:
        """Its training round."""
        return round_of(self.info.model)

    @property
    def scorers(self) -> Mapping[str, Scorer]:
        """Scorers that hold a model of their own, by the method they are."""
        return self._loaded.scorers

    @property
    def leases(self) -> int:
        """Requests that use it."""
        return self._leases

    def also_called(self, names: frozenset[str]) -> None:
        """Answer to further names from now on; replies still tell its own."""
        self.defaults = replace(self.defaults, also=names)

    @contextlib.contextmanager
    def lease(self) -> Iterator[Served]:
        """Use it; it is not freed meanwhile."""
        self._leases += 1
        self._unused.clear()
        try:
            yield self
        finally:
            self._leases -= 1
            if not self._leases:
                self._unused.set()

    async def unused(self) -> None:
        """Wait until nobody uses it."""
        await self._unused.wait()

    async def aclose(self) -> None:
        """End what runs and free it."""
        await self.engine.aclose()
        await self._loaded.aclose()


def _defaults(config: Config, info: EngineInfo, learned: tuple[str, ...], *, can_run: bool) -> Defaults:
    server, sandbox = config.server, config.sandbox
    return Defaults(
        info=info,
        methods=(*METHODS, *learned),
        can_run=can_run,
        method=server.default_method,
        method_fim=server.default_method_fim,
        method_stream=server.default_method_stream,
        num_candidates=server.default_candidates,
        max_candidates=server.max_candidates,
        temperature=server.candidate_temperature,
        top_p=server.candidate_top_p,
        max_tokens=server.default_max_tokens,
        max_tokens_fim=server.default_max_tokens_fim,
        max_prompts=server.max_prompts,
        profiles=config.profiles,
        limits=sandbox.limits,
        max_wall_s=sandbox.max_wall_s,
        max_memory_bytes=sandbox.max_memory_mb * 2**20,
    )
