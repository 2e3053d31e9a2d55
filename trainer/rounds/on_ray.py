"""Samples by engines on a Ray cluster: an actor each, with an engine and the sandbox of its node.

Where one is lost Ray starts it again, on another node if need be, and asks it again what it had not answered. Answers
are kept by the round, so that they outlive all of them. Nothing of Ray is imported before it is used.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from engine import EngineConfig, EngineError, EngineInfo, ModelStore, build_engine
from sandbox import LocalSandbox, SandboxError, ray_cluster
from trainer.errors import TrainerError
from trainer.groups import Group, Response
from trainer.rounds.asked import AT_ONCE, Ask, LocalSampler
from trainer.tuning.on_ray import has_gpus

_TIMES = 3
"""So often is a lost actor started again, and asked again."""


@contextlib.asynccontextmanager
async def ray_sampler(
    address: str, config: EngineConfig, state_dir: Path, *, engines: int, cpus: int
) -> AsyncIterator[RaySampler]:
    """So many engines, of so many CPUs each, for the length of an `async with` block.

    Raises `SandboxUnavailable` where no cluster can be joined, `TrainerError` where the engine cannot be loaded.
    """
    with ray_cluster(address):
        import ray

        options = {"num_cpus": cpus, "num_gpus": int(has_gpus(engines)), "scheduling_strategy": "SPREAD"}
        again = {"max_restarts": _TIMES, "max_task_retries": _TIMES}
        made = ray.remote(Asked).options(**options, **again)
        actors = [made.remote(config, state_dir, cpus) for _ in range(engines)]
        yield RaySampler(await _answered(actors[0].info.remote()), actors)


class RaySampler:
    """Implements `Sampler` over actors that are `Asked`."""

    def __init__(self, info: EngineInfo, actors: list[Any]) -> None:
        self.info = info
        self.at_once = AT_ONCE * len(actors)
        self._busy = dict.fromkeys(actors, 0)

    async def answer(self, ask: Ask, group: Group) -> tuple[Response, ...] | None:
        """See `Sampler`: of the actor that has the least to do."""
        actor = min(self._busy, key=lambda each: self._busy[each])
        self._busy[actor] += 1
        try:
            found: tuple[Response, ...] | None = await _answered(actor.answer.remote(ask, group))
        finally:
            self._busy[actor] -= 1
        return found


class Asked:
    """The actor. Its engine is loaded when it is first needed, and again where Ray started it again."""

    def __init__(self, config: EngineConfig, state_dir: Path, cpus: int) -> None:
        self._config, self._state_dir, self._cpus = config, state_dir, cpus
        self._loading = asyncio.Lock()
        self._sampler: LocalSampler | None = None

    async def info(self) -> EngineInfo:
        """What its engine is; the first one chooses the type to compute in, for all."""
        return (await self._loaded(None)).info

    async def answer(self, ask: Ask, group: Group) -> tuple[Response, ...] | None:
        """See `Sampler`."""
        return await (await self._loaded(ask.info)).answer(ask, group)

    async def _loaded(self, like: EngineInfo | None) -> LocalSampler:
        async with self._loading:
            if self._sampler is None:
                try:
                    sandbox = LocalSandbox(concurrency=self._cpus)
                    await sandbox.probe()
                    engine = await build_engine(self._config, ModelStore(self._state_dir), like=like)
                except (EngineError, SandboxError) as error:
                    raise TrainerError(f"node {socket.gethostname()}: {error}") from error
                self._sampler = LocalSampler(engine, sandbox)
            info = self._sampler.info
        if like is not None and (info.model, info.dtype, info.weights) != (like.model, like.dtype, like.weights):
            raise TrainerError(
                f"node {socket.gethostname()} has {info.model} in {info.dtype}, another {like.model} in {like.dtype}"
            )
        return self._sampler


async def _answered(call: Any) -> Any:
    """What a call of an actor came to. Raises `TrainerError`, of the actor or where it was lost too often."""
    from ray.exceptions import RayError

    try:
        return await call
    except RayError as error:
        cause = getattr(error, "cause", None)  # of what was raised there
        if isinstance(cause, TrainerError):
            raise TrainerError(str(cause)) from error
        said = " ".join(str(error).split())[-500:]
        raise TrainerError(f"an engine on Ray failed: {said}") from error
