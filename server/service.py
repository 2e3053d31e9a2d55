"""What every route is given: the parts that do the work, and the state of the process. Built objects; no globals."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Protocol

from engine import Engine
from feedback import AnswerLog, ContestLog, FeedbackStore, SuiteStore
from reranker import Loaded
from sandbox import Sandbox
from server.config import Config
from server.contest import Contest
from server.keys.ring import Ring
from server.lifecycle import Lifecycle
from server.live import LiveRequests
from server.metrics import Metrics
from server.replicas import Replicas
from server.roster import Roster
from server.served import Served
from server.shadow import Shadows
from server.shared_answers import SharedAnswers
from server.switching import Failure, Switching

if TYPE_CHECKING:
    from server.telemetry.traces import Traces


class Log(FeedbackStore, ContestLog, AnswerLog, SuiteStore, Protocol):
    """What the server needs of the log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Isolation:
    """What the host can do to confine candidates."""

    tier: str | None
    """None: nothing, and nothing untrusted is run."""
    reasons: tuple[str, ...] = ()
    """Why it is not a stronger one."""
    how_to_fix: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The built objects of one process, as it begins."""

    config: Config
    engine: Engine
    """Of the model served first; it may be replaced and closed while the process lives."""
    store: Log
    sandbox: Sandbox | None = None
    loaded: Loaded = field(default_factory=Loaded)
    """Scorers that go with that model."""
    isolation: Isolation = field(default_factory=lambda: Isolation(tier=None, reasons=("no sandbox was built",)))
    model_id: str | None = None
    """That model's folder in the model store; None: it is none of its models, and is never replaced."""
    traces: Traces | None = None
    """None: nothing is traced."""
    failure: Failure | None = None
    """The champion that could not be served, where another model stands in for it."""


class Service:
    """The parts once they are there, and before that the reason why not."""

    def __init__(self, config: Config, parts: Parts | None = None) -> None:
        self.config = config
        self.config_hash = config.digest()
        self.keys = Ring(config.keys_path, config.limits)
        self.metrics = Metrics()
        self.live = LiveRequests(self.metrics.cancel_latency)
        self.lifecycle = Lifecycle(retry_after_s=config.server.retry_after_s)
        self.roster = Roster(retry_after_s=config.server.retry_after_s)
        self.switching: Switching | None = None
        """None where the served model is fixed."""
        self.shadows: Shadows | None = None
        self.contest: Contest | None = None
        self.replicas: Replicas | None = None
        """None where no other server shares the log."""
        self.pages: Callable[[Sequence[str]], Awaitable[Mapping[str, bytes]]] | None = None
        """The metrics by these names (none: all) of every replica behind this one's address, itself among them; None:
        it is alone there."""
        self.failure: str | None = None
        """Why loading ended without a model."""
        self.sandbox: Sandbox | None = None
        self.isolation: Isolation | None = None
        """None while loading."""
        self.traces: Traces | None = None
        self._store: Log | None = None
        if parts is not None:
            self.begin(parts)

    def begin(self, parts: Parts) -> None:
        """Serve with these parts from now on."""
        self.sandbox, self.isolation, self._store = parts.sandbox, parts.isolation, parts.store
        self.traces = parts.traces
        served = Served(self.config, parts.engine, parts.loaded, can_run=parts.sandbox is not None, id=parts.model_id)
        self.roster.enthrone(served)
        self.metrics.models([("champion", served.info)])
        self.metrics.isolation(parts.isolation.tier)
        if self.config.server.replicas > 1:
            from feedback import Channel

            keep_s = self.config.server.idempotency_s
            self.replicas = Replicas(partial(Channel, self.config.database_url), self.live, self.keys, keep_s)
            self.replicas.start()
        if self.lifecycle.phase == "loading":
            self.lifecycle.phase = "ok"

    def follow(self, switching: Switching) -> None:
        """Let the served model change: by the model store, by an administrator, by a contest."""
        self.switching = switching
        self.shadows = Shadows(
            self.config, self.config_hash, self.roster, self.store, self.sandbox, self.metrics, self.traces
        )
        self.contest = Contest(self.config, self.roster, self.store, switching, self.metrics)
        self.lifecycle.on_drain(self.shadows.stop)

    @property
    def ready(self) -> bool:
        """Whether requests may be sent here."""
        return self.lifecycle.phase == "ok" and self.roster.champion is not None and not self.roster.asleep

    @property
    def begun(self) -> bool:
        """Whether the parts have been built."""
        return self._store is not None

    @property
    def shared_answers(self) -> SharedAnswers | None:
        """Answers to keyed requests that other servers know, too; None where there are no others."""
        return None if self.replicas is None else self.replicas.answers

    @property
    def store(self) -> Log:
        """The log. Raises `Unavailable` (503) while the parts are being built."""
        if self._store is None:
            raise self.roster.unavailable()
        return self._store

    async def aclose(self) -> None:
        """Close everything, the engines first: what still runs there ends before its judge and its log do."""
        if self.shadows is not None:
            await self.shadows.aclose()
        if self.switching is not None:
            await self.switching.aclose()
        else:
            for _, served in list(self.roster):
                await served.aclose()
        if self.sandbox is not None:
            await self.sandbox.aclose()
        if self.replicas is not None:
            await self.replicas.aclose()
        if self._store is not None:
            await self._store.aclose()
        if self.traces is not None:
            await asyncio.to_thread(self.traces.close)
