"""`/health`, `/ready`, `/version` and `/metrics`: what machines ask. Answered also while loading and draining."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import parse_qs

from starlette.types import Receive, Scope, Send

from engine import Engine, EngineStats, touchstone_version
from sandbox import PoolStats, Sandbox
from server.asgi import headers_of, send_bytes, send_json
from server.merged_metrics import merged
from server.metrics import CONTENT_TYPE, OPEN_METRICS
from server.service import Log, Service


class Health:
    """`GET /health`: the process lives. Always 200."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send_json(send, 200, {"status": "ok" if self._service.begun else "loading"})


class Ready:
    """`GET /ready`: send requests here, or not yet, or not any more."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        service, roster = self._service, self._service.roster
        phase, ready = service.lifecycle.phase, service.ready
        waits = "asleep" if roster.asleep else "switching" if roster.switching else phase
        body: dict[str, Any] = {"status": "ready" if ready else waits}
        if roster.champion is not None:
            body["model"] = roster.champion.info.model
        body["models"] = [
            {"model": served.info.model, "round": served.round, "role": role, "requests": served.leases}
            for role, served in roster
        ]
        switching, isolation = service.switching, service.isolation
        if switching is not None and switching.failure is not None:
            failure = switching.failure
            body["not_served"] = {"id": failure.id, "reason": failure.reason, "at": failure.at.isoformat()}
        if isolation is not None:
            why = "reasons" if isolation.tier is None else "stronger_refused"
            body["isolation"] = {"tier": isolation.tier, why: isolation.reasons, "how_to_fix": isolation.how_to_fix}
        if ready:
            await send_json(send, 200, body)
            return
        retry = str(max(1, round(service.config.server.retry_after_s)))
        await send_json(send, 503, body, [("retry-after", retry)])


class Version:
    """`GET /version`."""

    def __init__(self, service: Service) -> None:
        self._body = {"version": touchstone_version(), "config_hash": service.config_hash}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send_json(send, 200, self._body)


class MetricsPage:
    """`GET /metrics`: Prometheus' text format, or OpenMetrics' where `Accept` names it; `?name[]=...`: those alone.

    Of several replicas behind one address, those of all, in the text format, each with the label `replica`.
    """

    def __init__(self, service: Service) -> None:
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        service = self._service
        names = parse_qs(scope.get("query_string", b"").decode("latin-1")).get("name[]", [])
        if service.pages is not None:
            await send_bytes(send, 200, merged(await service.pages(names)), CONTENT_TYPE)
            return
        open_metrics = "application/openmetrics-text" in headers_of(scope).get("accept", "")
        page = page_of(service, names, open_metrics=open_metrics)
        await send_bytes(send, 200, page, OPEN_METRICS if open_metrics else CONTENT_TYPE)


def page_of(service: Service, names: Sequence[str] = (), *, open_metrics: bool = False) -> bytes:
    """What is scraped of this process; `names`: of these metrics alone."""
    engines = [stats for _, served in service.roster if (stats := stats_of(served.engine)) is not None]
    pool = pool_of(service.sandbox)
    waiting = waiting_in(service.store) if service.begun else 0
    return service.metrics.scrape(engines, pool, names, ready=service.ready, outbox=waiting, open_metrics=open_metrics)


def stats_of(engine: Engine) -> EngineStats | None:
    """How busy the engine is, where it says so."""
    stats = getattr(engine, "stats", None)
    return stats() if callable(stats) else None


def pool_of(sandbox: Sandbox | None) -> PoolStats | None:
    """How busy the sandbox is, where it says so."""
    stats = getattr(sandbox, "stats", None)
    return stats() if callable(stats) else None


def waiting_in(store: Log) -> int:
    """The exchanges that wait in the log's outbox; 0 where it has none."""
    waiting: int = getattr(store, "waiting", 0)
    return waiting
