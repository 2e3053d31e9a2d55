"""What every route is given: the parts that do the work, and the state of the process. Built objects; no globals."""

from __future__ import annotations

from dataclasses import dataclass, field

from engine import Engine
from feedback import FeedbackStore
from reranker import METHODS, Loaded
from sandbox import Sandbox
from server.config import Config
from server.errors import Unavailable
from server.lifecycle import Lifecycle
from server.metrics import Metrics
from server.translate.defaults import Defaults


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
    """The built objects of one process."""

    config: Config
    engine: Engine
    store: FeedbackStore
    sandbox: Sandbox | None = None
    loaded: Loaded = field(default_factory=Loaded)
    isolation: Isolation = field(default_factory=lambda: Isolation(tier=None, reasons=("no sandbox was built",)))


class Service:
    """The parts once they are there, and before that the reason why not."""

    def __init__(self, config: Config, parts: Parts | None = None) -> None:
        self.config = config
        self.config_hash = config.digest()
        self.metrics = Metrics()
        self.lifecycle = Lifecycle(retry_after_s=config.server.retry_after_s)
        self.failure: str | None = None
        """Why loading ended without a model."""
        self._parts: Parts | None = None
        self._defaults: Defaults | None = None
        if parts is not None:
            self.begin(parts)

    def begin(self, parts: Parts) -> None:
        """Serve with these parts from now on."""
        self._parts = parts
        self._defaults = _defaults(parts)
        self.metrics.model(parts.engine.info)
        self.metrics.isolation(parts.isolation.tier)
        if self.lifecycle.phase == "loading":
            self.lifecycle.phase = "ok"

    @property
    def loaded(self) -> Parts | None:
        """The parts, or None while they are being built."""
        return self._parts

    @property
    def parts(self) -> Parts:
        """The parts. Raises `Unavailable` (503) while they are being built."""
        if self._parts is None:
            raise Unavailable("the model is still loading", "loading", self.config.server.retry_after_s)
        return self._parts

    @property
    def defaults(self) -> Defaults:
        """What a request gets that does not say. Raises `Unavailable` (503) while the parts are being built."""
        if self._defaults is None:
            raise Unavailable("the model is still loading", "loading", self.config.server.retry_after_s)
        return self._defaults


def _defaults(parts: Parts) -> Defaults:
    server, sandbox = parts.config.server, parts.config.sandbox
    return Defaults(
        info=parts.engine.info,
        methods=(*METHODS, *parts.loaded.scorers),
        can_run=parts.sandbox is not None,
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
        limits=sandbox.limits,
        max_wall_s=sandbox.max_wall_s,
        max_memory_bytes=sandbox.max_memory_mb * 2**20,
    )
