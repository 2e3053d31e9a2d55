"""From one champion to the next while requests run: load beside, check, switch, drain, free.

Requests are never stopped: each keeps the model it was admitted with. Where two models do not fit in memory the old one
is drained and freed first, and newcomers are told to come again. A model that cannot be served is said to be so and is
not tried again until the pointer is written again; the old one goes on.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from engine import (
    Challenger,
    ContestMode,
    Engine,
    EngineError,
    InvalidModel,
    InvalidSetting,
    Model,
    ModelStore,
    Sleeps,
    shared_weights,
)
from server import selfcheck
from server.config import Config
from server.errors import UnusableModel
from server.metrics import Metrics
from server.room import give_back, has_room
from server.roster import Roster
from server.served import Served

_log = logging.getLogger(__name__)

Load = Callable[[Config, Model, Sequence[Engine]], Awaitable[Served]]
"""Load a model folder, warm, beside these engines, the champion's first. Raises `EngineError`."""
State = Literal["idle", "loading", "draining"]


@dataclass(frozen=True, slots=True)
class Failure:
    """A model that was not switched to."""

    id: str
    reason: str
    at: datetime


class Switching:
    """Keeps the roster at what the model store says. One change at a time."""

    def __init__(
        self,
        config: Config,
        store: ModelStore,
        roster: Roster,
        metrics: Metrics,
        load: Load,
        *,
        failure: Failure | None = None,
    ) -> None:
        self.store = store
        self.state: State = "idle"
        self.failure = failure
        """The last model that could not be served, until one could."""
        self._config = config
        self._roster = roster
        self._metrics = metrics
        self._load = load
        self._turn = asyncio.Lock()
        self._stopping = asyncio.Event()
        self._seen: object = None if failure is None else store.written()
        self._fallback: str | None = None
        """What to load again where there is no champion in memory."""
        self._freeing: set[asyncio.Task[None]] = set()

    async def watch(self) -> None:
        """Look for changes until told to stop. Never raises: what goes wrong is said, and looked at again."""
        while not await self._stopped_within(self._config.server.champion_poll_s):
            try:
                await self.look()
            except Exception as error:  # noqa: BLE001 - the watch must outlive whatever one look meets
                _log.error("looking for a champion failed", exc_info=error)

    async def look(self) -> None:
        """Follow the store if it was written since the last look; returns when all that was written is followed."""
        async with self._turn:
            if self._roster.asleep:
                return
            written = await asyncio.to_thread(self.store.written)
            if written == self._seen and self._roster.champion is not None:
                return
            self._seen, self.failure = written, None
            await self._follow_champion()
            if self._roster.champion is not None:
                await self._follow_challenger()
        self._tell()

    async def prepare(self, model_id: str) -> Served:
        """Load a model beside the others and check it; it answers under its own name.

        Raises `ModelNotFound`, `UnusableModel`.
        """
        async with self._turn:
            model = await asyncio.to_thread(self.store.get, model_id)
            if not self._fits(model):
                raise UnusableModel(model.id, "there is no room for it in memory beside what is loaded (server.switch)")
            served = await self._prepared(model)
            if all(served is not other for _, other in self._roster):
                self._roster.loaded[model.id] = served
        self._tell()
        return served

    async def unload(self, model_id: str) -> bool:
        """Free what `prepare` loaded once it is unused; whether there was such."""
        served = self._roster.loaded.pop(model_id, None)
        if served is None:
            return False
        self._roster.replaced.add(served)
        self._free(served)
        return True

    async def switch(self, model_id: str, expected: str | None) -> None:
        """Make a model the champion: loaded and checked first where there is room, then the pointer, then the traffic.

        `expected` None: whichever is champion. Raises `ChampionMoved`, `ModelNotFound`, `UnusableModel`.
        """
        model = await asyncio.to_thread(self.store.get, model_id)
        async with self._loaded_for(model, needed=self._fits(model)):
            current = await self._expected(expected)
            await asyncio.to_thread(self.store.set_champion, current, model.id)
        await self.look()
        champion = self._roster.champion
        if champion is None or champion.id != model.id:
            reason = self.failure.reason if self.failure is not None else "another champion was set meanwhile"
            raise UnusableModel(model.id, reason)

    async def challenge(self, model_id: str, expected: str | None, *, mode: ContestMode, share: float) -> None:
        """Begin a contest with a model that has been loaded and checked. Raises as `switch`, and `InvalidModel`."""
        model = await asyncio.to_thread(self.store.get, model_id)
        async with self._loaded_for(model):
            current = await self._expected(expected)
            await asyncio.to_thread(self.store.set_challenger, current, model.id, mode=mode, share=share)
        await self.look()

    @property
    def asleep(self) -> bool:
        """Whether nothing answers, and nothing is switched, until `wake`."""
        return self._roster.asleep

    async def sleep(self) -> None:
        """Have every model free its GPU once what runs has finished; newcomers are told to come again until `wake`.

        Raises `InvalidSetting`, and the models answer on, where an engine cannot.
        """
        async with self._turn:
            self._roster.asleep = True
            try:
                for engine in self._engines():
                    await _sleeper(engine).sleep()
            except BaseException:
                await self._awaken()
                raise

    async def wake(self) -> None:
        """Have them take the GPU again, answer, and follow the store."""
        async with self._turn:
            await self._awaken()
        await self.look()

    async def _awaken(self) -> None:
        try:
            for engine in self._engines():
                if isinstance(engine, Sleeps):
                    await engine.wake()
        finally:
            self._roster.asleep = False

    async def aclose(self) -> None:
        """Stop looking, then close every model. A load that has begun is waited for: threads outlive no interpreter."""
        self._stopping.set()
        async with self._turn:
            for task in self._freeing:
                task.cancel()
            if self._freeing:
                await asyncio.wait(self._freeing)
            for _, served in list(self._roster):
                await served.aclose()

    @asynccontextmanager
    async def _loaded_for(self, model: Model, *, needed: bool = True) -> AsyncIterator[None]:
        """Have the model in memory for what the block does; let it go again where that fails."""
        was_loaded = self._roster.find(model.id) is not None
        if needed:
            await self.prepare(model.id)
        try:
            yield
        except EngineError:
            if not was_loaded:
                await self.unload(model.id)
            raise

    async def _expected(self, expected: str | None) -> str | None:
        return await asyncio.to_thread(self.store.champion_id) if expected is None else expected

    async def _follow_champion(self) -> None:
        champion, wanted = self._roster.champion, None
        try:
            wanted = await asyncio.to_thread(self.store.champion_id)
            if wanted is None or (champion is not None and champion.id == wanted):
                return
            await self._switch_to(await asyncio.to_thread(self.store.get, wanted))
        except EngineError as error:
            self._failed(wanted or "champion.json", error)
            await self._fall_back()

    async def _switch_to(self, model: Model) -> None:
        before = self._roster.champion
        if before is not None and not self._fits(model):
            await self._make_room(before)
        served = await self._prepared(model)
        names = await asyncio.to_thread(self._former_names, model)
        replaced = self._roster.enthrone(served, names)
        self._metrics.switched("done")
        _log.warning("the champion is %s now", served.info.model)
        if replaced is not None:
            self._free(replaced)

    async def _make_room(self, before: Served) -> None:
        """Refuse newcomers, wait for those being served, free all models. Who stays too long ends with what it has."""
        self.state, self._fallback = "draining", before.id
        self._roster.vacate("another model is being loaded; come again")
        self._roster.challenge(None, None)
        self._roster.replaced.update(self._roster.loaded.values())
        self._roster.loaded.clear()
        leaving = tuple(self._roster.replaced)
        with suppress(TimeoutError):
            async with asyncio.timeout(self._config.server.drain_s):
                for served in leaving:
                    await served.unused()
        for served in leaving:
            await self._closed(served)
        self.state = "idle"

    async def _fall_back(self) -> None:
        """Serve the champion of before again where it had to go first."""
        if self._roster.champion is not None or self._fallback is None:
            return
        try:
            served = await self._prepared(await asyncio.to_thread(self.store.get, self._fallback))
        except EngineError as error:
            _log.error("nothing is served until this is mended: %s", error)
            return
        self._roster.enthrone(served)

    async def _prepared(self, model: Model) -> Served:
        """A model in memory that computes what it should. Raises `UnusableModel`."""
        found = self._roster.find(model.id)
        if found is not None:
            return found
        self.state = "loading"
        try:
            return await self._checked(model)
        except EngineError as error:
            raise UnusableModel(model.id, str(error)) from error
        except (
            Exception
        ) as error:  # a folder that was written wrongly may fail in any way, and must not stop the server
            _log.debug("loading %s failed", model.id, exc_info=error)
            raise UnusableModel(model.id, f"{type(error).__name__}: {error}") from error
        finally:
            self.state = "idle"

    async def _checked(self, model: Model) -> Served:
        """Load a model, if its files are what its manifest says, and let it go again if it computes nonsense."""
        damage = await asyncio.to_thread(self.store.verify, model)
        if damage:
            raise InvalidModel(f"{damage[0].path}: {damage[0].problem}, by the manifest's checksums")
        served = await self._load(self._config, model, self._engines())
        try:
            await selfcheck.check(served.engine, model.manifest.evaluation)
        except BaseException:
            await served.aclose()
            await asyncio.to_thread(give_back)
            raise
        return served

    async def _follow_challenger(self) -> None:
        """Load the challenger that the store names, or let go of the one it names no more."""
        wanted: Challenger | None = None
        try:
            wanted = await asyncio.to_thread(self.store.challenger)
            if wanted == self._roster.contest:
                return
            served = None
            if wanted is not None:
                model = await asyncio.to_thread(self.store.get, wanted.id)
                if not self._fits(model):
                    raise UnusableModel(
                        model.id, "there is no room for it in memory beside the champion (server.switch)"
                    )
                served = await self._prepared(model)
            self._let_go(self._roster.challenge(served, wanted))
        except EngineError as error:
            self._failed(wanted.id if wanted is not None else "challenger.json", error)
            self._let_go(self._roster.challenge(None, None))

    def _fits(self, model: Model) -> bool:
        """Whether it is in memory, or may be loaded beside what is."""
        way = self._config.server.switch
        return (
            self._roster.find(model.id) is not None
            or way == "beside"
            or shared_weights(model, self.store, self._engines()) is not None
            or (way == "auto" and has_room(self._config, model))
        )

    def _engines(self) -> list[Engine]:
        return [served.engine for _, served in self._roster]

    def _former_names(self, model: Model) -> frozenset[str]:
        """Names of the rounds that a model was trained from: clients may still ask for them."""
        names: set[str] = set()
        parent, seen = model.manifest.parent, {model.id}
        while parent is not None and parent not in seen:
            seen.add(parent)
            try:
                manifest = self.store.get(parent).manifest
            except EngineError:  # an ancestor may have been deleted
                break
            names |= {str(manifest.name(dtype)) for dtype in manifest.conversions}
            parent = manifest.parent
        return frozenset(names)

    def _failed(self, model_id: str, error: EngineError) -> None:
        reason = error.reason if isinstance(error, UnusableModel) else str(error)
        self.failure = Failure(model_id, reason, datetime.now(UTC))
        self._metrics.switched("failed")
        served = self._roster.champion
        _log.error("%s is not served: %s; %s", model_id, reason, f"{served.info.model} goes on" if served else "")

    def _let_go(self, served: Served | None) -> None:
        if served is not None:
            self._free(served)

    def _free(self, served: Served) -> None:
        """Close a model once it is unused, in the background."""

        async def later() -> None:
            await served.unused()
            await self._closed(served)

        task = asyncio.create_task(later())
        self._freeing.add(task)
        task.add_done_callback(self._freeing.discard)

    async def _closed(self, served: Served) -> None:
        await served.aclose()
        self._roster.replaced.discard(served)
        await asyncio.to_thread(give_back)
        self._tell()

    def _tell(self) -> None:
        self._metrics.models([(role, served.info) for role, served in self._roster])

    async def _stopped_within(self, seconds: float) -> bool:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stopping.wait(), seconds)
        return self._stopping.is_set()


def _sleeper(engine: Engine) -> Sleeps:
    if isinstance(engine, Sleeps):
        return engine
    raise InvalidSetting("type", f"{engine.info.engine} cannot sleep; vllm can")
