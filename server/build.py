"""The composition root: from configuration to parts. The only place where ports meet their implementations.

Order matters: the sandbox's launcher starts first, from the main thread, before there are other threads; then the log;
then the model, which takes longest.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

from engine import Engine, GenerationRequest, ModelStore, Sampling, Text, build_engine
from feedback import FeedbackStore
from sandbox import LocalSandbox, Sandbox, SandboxError, SandboxUnavailable, Tier
from server.config import Config
from server.scorers import load_scorers
from server.service import Isolation, Parts

_log = logging.getLogger(__name__)
_WARM_UP = Text("def f():\n")

MakeEngine = Callable[[Config], Coroutine[Any, Any, Engine]]


async def build(config: Config, make_engine: MakeEngine | None = None) -> Parts:
    """Build everything; the engine is warm. Raises `EngineError` and `FeedbackError` for what cannot be had.

    What was built before a failure is closed again. `make_engine` stands in for the configuration's own engine.
    """
    config.state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)  # it will hold prompts, in clear
    sandbox, isolation = await build_sandbox(config)
    # The log and the model do not know of each other, so they are opened side by side.
    opening = asyncio.ensure_future(asyncio.to_thread(open_store, config))
    loading = asyncio.ensure_future((make_engine or build_warm_engine)(config))
    await asyncio.wait((opening, loading))
    if opening.exception() is None and loading.exception() is None:
        engine, store = loading.result(), opening.result()
        try:
            loaded = await asyncio.to_thread(load_scorers, config, engine.info.model)
        except BaseException:
            await asyncio.gather(engine.aclose(), store.aclose(), *([sandbox.aclose()] if sandbox is not None else []))
            raise
        return Parts(config=config, engine=engine, store=store, sandbox=sandbox, loaded=loaded, isolation=isolation)
    if opening.exception() is None:
        await opening.result().aclose()
    if loading.exception() is None:
        await loading.result().aclose()
    if sandbox is not None:
        await sandbox.aclose()
    raise loading.exception() or opening.exception() or AssertionError


def open_store(config: Config) -> FeedbackStore:
    """The log's database, brought up to date. Blocks. Imported here: its libraries are a third of the start-up."""
    from feedback import SqlStore

    return SqlStore.open(config.database_url)


async def build_warm_engine(config: Config) -> Engine:
    """The engine of the configuration, warm."""
    engine = await build_engine(config.engine, ModelStore(config.state_dir))
    try:
        await warm(engine)
    except BaseException:
        await engine.aclose()
        raise
    return engine


async def build_sandbox(config: Config) -> tuple[Sandbox | None, Isolation]:
    """The sandbox of this host, or None with the reasons. A host that cannot isolate still serves."""
    if not config.sandbox.enabled:
        return None, Isolation(tier=None, reasons=("switched off by sandbox.enabled",))
    wanted = config.sandbox
    sandbox = LocalSandbox(
        concurrency=wanted.slots, tiers=wanted.tiers, python=wanted.python, max_waiting=wanted.max_waiting
    )
    try:
        found = await sandbox.probe()
    except SandboxError as error:
        await sandbox.aclose()
        fixes = error.how_to_fix if isinstance(error, SandboxUnavailable) else ()
        _log.warning("untrusted code cannot be isolated here, so nothing is tested: %s", error)
        return None, Isolation(tier=None, reasons=(str(error),), how_to_fix=fixes)
    return sandbox, isolation_of(found)


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


async def close(parts: Parts) -> None:
    """Close everything, the engine first: what still runs there ends before its judge and its log do."""
    await parts.engine.aclose()
    if parts.sandbox is not None:
        await parts.sandbox.aclose()
    await parts.loaded.aclose()
    await parts.store.aclose()
