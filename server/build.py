"""The composition root: from configuration to parts. The only place where ports meet their implementations.

Order matters: the sandbox's launcher starts first, from the main thread, before there are other threads; then the log;
then the model, which takes longest.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

from engine import (
    AUTO,
    HOLD_MODELS,
    Engine,
    GenerationRequest,
    Model,
    ModelStore,
    Sampling,
    Text,
    build_engine,
)
from feedback import RedactingStore, StoreFailed
from sandbox import LocalSandbox, RaySandbox, Sandbox, SandboxError, SandboxUnavailable, Staff, Tier
from server.config import Config, SandboxConfig
from server.scorers import load_scorers
from server.selfcheck import check
from server.served import Served
from server.service import Isolation, Log, Parts, Service
from server.switching import Failure, Switching
from server.telemetry import switch as telemetry

_log = logging.getLogger(__name__)
_WARM_UP = Text("def f():\n")

MakeEngine = Callable[[Config], Coroutine[Any, Any, Engine]]


@dataclass(frozen=True, slots=True)
class First:
    """The model that is served first."""

    engine: Engine
    id: str | None = None
    failure: Failure | None = None


async def build(config: Config, make_engine: MakeEngine | None = None) -> Parts:
    """Build everything; the engine is warm. Raises `EngineError` and `FeedbackError` for what cannot be had.

    What was built before a failure is closed again. `make_engine` stands in for the configuration's own engine.
    """
    try:
        config.state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)  # it will hold prompts, in clear
    except OSError as error:
        raise StoreFailed(f"state_dir: cannot make {config.state_dir}: {error.strerror}") from error
    sandbox, isolation = await build_sandbox(config)
    # The log and the model do not know of each other, so they are opened side by side.
    opening = asyncio.ensure_future(opened_store(config))
    loading = asyncio.ensure_future(first_model(config) if make_engine is None else _made(make_engine(config)))
    await asyncio.wait((opening, loading))
    if opening.exception() is None and loading.exception() is None:
        first, store = loading.result(), opening.result()
        try:
            loaded = await asyncio.to_thread(load_scorers, config, first.engine.info.model)
        except BaseException:
            closing = [sandbox.aclose()] if sandbox is not None else []
            await asyncio.gather(first.engine.aclose(), store.aclose(), *closing)
            raise
        return Parts(
            config=config,
            engine=first.engine,
            store=store,
            sandbox=sandbox,
            loaded=loaded,
            isolation=isolation,
            model_id=first.id,
            failure=first.failure,
            traces=await asyncio.to_thread(telemetry.start),
        )
    if opening.exception() is None:
        await opening.result().aclose()
    if loading.exception() is None:
        await loading.result().engine.aclose()
    if sandbox is not None:
        await sandbox.aclose()
    raise loading.exception() or opening.exception() or AssertionError


async def opened_store(config: Config) -> Log:
    """The log, ready to be written; records lose their secrets on the way, unless the configuration says otherwise."""
    store = await asyncio.to_thread(open_store, config)
    if not config.is_database_local:
        from feedback import OutboxStore

        assert isinstance(store, OutboxStore)  # noqa: S101 - as `open_store` made it
        await store.resume()
    return RedactingStore(store) if config.feedback.redact else store


def open_store(config: Config) -> Log:
    """The log's database, brought up to date. Blocks. Imported here: its libraries are a third of the start-up."""
    from feedback import OutboxStore, SqlStore

    if config.is_database_local:
        return SqlStore.open(config.database_url)
    return OutboxStore.open(config.database_url, config.outbox_path)


def serves_champion(config: Config) -> bool:
    """Whether this server serves the champion, whichever it is, and not a model that was named."""
    return config.engine.model is None and config.engine.type in (AUTO, *HOLD_MODELS)


async def first_model(config: Config) -> First:
    """The engine of the configuration, warm; the champion before this one where this one cannot be served."""
    store = ModelStore(config.state_dir)
    if not serves_champion(config):
        return First(await build_warm_engine(config, store))
    champion = await asyncio.to_thread(store.champion_id)
    if champion is None:
        return First(await build_warm_engine(config, store))  # says what to do
    try:
        return First(await _champion(config, store, champion), champion)
    except Exception as error:  # a folder that was written wrongly may fail in any way
        previous = await asyncio.to_thread(store.previous_champion)
        if previous is None:
            raise
        _log.error("the champion %s is not served, %s is tried: %s", champion, previous, error)
        failure = Failure(champion, str(error), datetime.now(UTC))
        return First(await _champion(config, store, previous), previous, failure)


async def _champion(config: Config, store: ModelStore, model_id: str) -> Engine:
    """Load a model to begin with. A model of the package was checked by its tests, another is checked here."""
    engine = await build_warm_engine(config, store, model_id)
    try:
        model = await asyncio.to_thread(store.get, model_id)
        if not model.read_only:
            await check(engine, model.manifest.evaluation)
    except BaseException:
        await engine.aclose()
        raise
    return engine


async def _made(engine: Coroutine[Any, Any, Engine]) -> First:
    return First(await engine)


async def build_warm_engine(
    config: Config, store: ModelStore, model_id: str | None = None, beside: Sequence[Engine] = ()
) -> Engine:
    """The engine of the configuration, or the same with another model, warm."""
    wanted = config.engine if model_id is None else config.engine.model_copy(update={"model": model_id})
    engine = await build_engine(wanted, store, n=config.server.default_candidates, beside=beside)
    try:
        await warm(engine)
    except BaseException:
        await engine.aclose()
        raise
    return engine


async def load_model(config: Config, model: Model, beside: Sequence[Engine], *, can_run: bool) -> Served:
    """A model folder as it is served: warm, with its scorers. Raises `EngineError`."""
    engine = await build_warm_engine(config, ModelStore(config.state_dir), model.id, beside)
    try:
        loaded = await asyncio.to_thread(load_scorers, config, engine.info.model)
    except BaseException:
        await engine.aclose()
        raise
    return Served(config, engine, loaded, can_run=can_run, id=model.id)


async def build_sandbox(config: Config) -> tuple[Sandbox | None, Isolation]:
    """The sandbox of this host, or None with the reasons. A host that cannot isolate still serves."""
    if not config.sandbox.enabled:
        return None, Isolation(tier=None, reasons=("switched off by sandbox.enabled",))
    sandbox = sandbox_of(config.sandbox)
    try:
        found = await sandbox.probe()
    except SandboxError as error:
        await sandbox.aclose()
        fixes = error.how_to_fix if isinstance(error, SandboxUnavailable) else ()
        _log.warning("untrusted code cannot be isolated here, so nothing is tested: %s", error)
        return None, Isolation(tier=None, reasons=(str(error),), how_to_fix=fixes)
    return sandbox, isolation_of(found)


def sandbox_of(wanted: SandboxConfig) -> LocalSandbox | RaySandbox:
    """The sandbox of the configuration, not yet probed."""
    if wanted.ray is None:
        return LocalSandbox(
            concurrency=wanted.slots, tiers=wanted.tiers, python=wanted.python, max_waiting=wanted.max_waiting
        )
    return RaySandbox(staff_of(wanted, wanted.ray))


def staff_of(wanted: SandboxConfig, address: str) -> Staff:
    """The workers of the configuration, on the cluster there."""
    return Staff(
        address=address,
        min_workers=wanted.ray_min_workers,
        max_workers=wanted.ray_max_workers,
        slots=wanted.slots or 1,
        idle_s=wanted.ray_idle_s,
        start_s=wanted.ray_start_s,
        max_waiting=wanted.max_waiting,
        tiers=wanted.tiers,
        python=wanted.python,
    )


def isolation_of(found: Tier) -> Isolation:
    """What a probe found, as the server tells it; a weaker tier than the strongest is never taken in silence."""
    if found.stronger_refused:
        lines = [*found.stronger_refused, *(f"to fix: {fix}" for fix in found.how_to_fix)]
        _log.warning("untrusted code is isolated by tier %s only:\n  %s", found.name, "\n  ".join(lines))
    return Isolation(tier=found.name, reasons=found.stronger_refused, how_to_fix=found.how_to_fix)


async def warm(engine: Engine) -> None:
    """Sample one token, so that the first request does not pay for what is done once."""
    request = GenerationRequest(id="warm-up", prompt=_WARM_UP, sampling=Sampling(temperature=0.0, max_tokens=1))
    async for _ in engine.generate(request):
        pass


def follow(service: Service, parts: Parts) -> None:
    """Let what is served change from now on, where it is a model of the store."""
    if parts.model_id is None:
        return
    load = partial(load_model, can_run=parts.sandbox is not None)
    store = ModelStore(parts.config.state_dir)
    service.metrics.loop.store = store
    service.follow(Switching(parts.config, store, service.roster, service.metrics, load, failure=parts.failure))
