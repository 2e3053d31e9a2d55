"""The composition root: from configuration to parts. The only place where ports meet their implementations.

Order matters: the sandbox's launcher starts first, from the main thread, before there are other threads; then the log;
then the model, which takes longest.
"""

from __future__ import annotations

import asyncio
import logging

from engine import Engine, GenerationRequest, ModelStore, Sampling, Text, build_engine
from feedback import SqlStore
from sandbox import NamespaceSandbox, Sandbox, SandboxError, SandboxUnavailable
from server.config import Config
from server.service import Isolation, Parts

_log = logging.getLogger(__name__)
_WARM_UP = Text("def f():\n")


async def build(config: Config) -> Parts:
    """Build everything; the engine is warm. Raises `EngineError` and `FeedbackError` for what cannot be had.

    What was built before the failure is closed again.
    """
    config.state_dir.mkdir(parents=True, exist_ok=True)
    sandbox, isolation = await build_sandbox(config)
    store = await asyncio.to_thread(SqlStore.open, config.database_url)
    try:
        engine = await build_engine(config.engine, ModelStore(config.state_dir))
        await warm(engine)
    except BaseException:
        await store.aclose()
        if sandbox is not None:
            await sandbox.aclose()
        raise
    return Parts(config=config, engine=engine, store=store, sandbox=sandbox, isolation=isolation)


async def build_sandbox(config: Config) -> tuple[Sandbox | None, Isolation]:
    """The sandbox of this host, or None with the reasons. A host that cannot isolate still serves."""
    if not config.sandbox.enabled:
        return None, Isolation(tier=None, reasons=("switched off by sandbox.enabled",))
    sandbox = NamespaceSandbox(concurrency=config.sandbox.slots)
    try:
        found = await sandbox.probe()
    except SandboxError as error:
        await sandbox.aclose()
        fixes = error.how_to_fix if isinstance(error, SandboxUnavailable) else ()
        _log.warning("untrusted code cannot be isolated here, so nothing is tested: %s", error)
        return None, Isolation(tier=None, reasons=(str(error),), how_to_fix=fixes)
    return sandbox, Isolation(tier=found.name)


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
    await parts.store.aclose()
