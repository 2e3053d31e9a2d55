"""One AsyncLLM and what all rounds on it share: weights, waiting queue, requests under way.

vLLM has a queue of its own. A request comes there only once the engine's queue lets it in, which counts candidates and
lets in as many as vLLM samples at once (docs/decisions/0068); so what waits, waits where order and fairness are known.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from engine.errors import EngineFailed, InvalidSetting, ModelNotFound, UnsupportedModel
from engine.turns import Turns
from engine.types import GenerationRequest
from engine.vllm_engine.seam import translated

_RESERVED = 8
"""One place of so many is kept for as-you-type requests."""


class Core:
    """See the module. For one event loop."""

    def __init__(self, llm: Any, *, weights: str, max_waiting: int, most_adapters: int | None = None) -> None:
        """`most_adapters`: how many may be there at once; None: any number, vLLM exchanges them."""
        self.llm = llm
        self._most_adapters = most_adapters
        self._num_adapters = 0
        self.weights = weights
        """What it computes with where no adapter is put on, as `EngineInfo.weights` has it."""
        self._output = llm.output_processor
        most = int(llm.vllm_config.scheduler_config.max_num_seqs)
        reserved = -(-most // _RESERVED) if most > 1 else 0
        self.turns = Turns(max_running=most - reserved, reserved=reserved, max_waiting=max_waiting)
        self.streams: set[Stream] = set()
        self.sampled_tokens = 0
        self.users = 1
        """Engines on it: the one it was loaded for, and rounds. It is freed with the last."""
        self._adapters = itertools.count(1)
        self._aborting: set[asyncio.Task[None]] = set()
        self._closing: asyncio.Task[None] | None = None

    @property
    def sequences(self) -> int:
        """Candidates that vLLM has not ended, or has yet to be told to end."""
        return int(self._output.get_num_unfinished_requests()) + len(self._aborting)

    async def open(
        self, request: GenerationRequest, ids: Sequence[int], params: Any, owner: object, adapter: Any
    ) -> Stream:
        """Hand a request to vLLM: one prompt, `params.n` candidates. Raises `EngineFailed`."""
        from vllm.inputs import tokens_input

        if self._closing is not None:
            raise EngineFailed("the engine is closed")
        adding = asyncio.ensure_future(
            self.llm.add_request(
                request.id, tokens_input(list(ids)), params, lora_request=adapter, priority=int(request.priority)
            )
        )
        try:
            with translated():
                collector = await asyncio.shield(adding)
        except asyncio.CancelledError:
            adding.add_done_callback(self._drop)  # only then its id is known
            raise
        stream = Stream(self, collector, params.n, owner)
        self.streams.add(stream)
        return stream

    def takes(self, folder: Path) -> bool:
        """Whether rounds are loaded as adapters here, and one of this size."""
        settings, file = self.llm.vllm_config.lora_config, folder / "adapter_config.json"
        if settings is None or not self._has_place or not file.is_file():
            return False
        return int(json.loads(file.read_text("utf-8"))["r"]) <= int(settings.max_lora_rank)

    @property
    def _has_place(self) -> bool:
        return self._most_adapters is None or self._num_adapters < self._most_adapters

    async def adapt(self, folder: Path, weights: str) -> Any:
        """Load a LoRA adapter beside the others, under a name that no other ever had: vLLM keeps the keys and values of
        prompts by this name, and would go on with those of older weights of the same name.

        Raises `InvalidSetting`, `ModelNotFound`, `UnsupportedModel`.
        """
        from vllm.lora.request import LoRARequest

        if self.llm.vllm_config.lora_config is None:
            raise InvalidSetting("vllm.enable_lora", "must be true for rounds that are adapters")
        if not self._has_place:
            raise InvalidSetting(
                "vllm.max_loras", f"{self._most_adapters} rounds are loaded, more are not taken on CPUs"
            )
        if not (folder / "adapter_config.json").is_file():
            raise ModelNotFound(f"no adapter_config.json in {folder}")
        self._num_adapters += 1
        number = next(self._adapters)
        adapter = LoRARequest(lora_name=f"{weights} #{number}", lora_int_id=number, lora_path=str(folder))
        try:
            await self.llm.add_lora(adapter)
        except Exception as error:
            self._num_adapters -= 1
            raise UnsupportedModel(f"vLLM cannot load the adapter {folder}: {error}") from error
        return adapter

    async def leave(self, owner: object, adapter: Any) -> None:
        """One engine less. Its requests end as cancelled; with the last the model is freed."""
        if self.users == 1:
            await self.aclose()
            return
        self.users -= 1
        for stream in tuple(self.streams):
            if stream.owner is owner:
                stream.end()
        if adapter is not None:
            await self.llm.remove_lora(adapter.lora_int_id)
            self._num_adapters -= 1

    async def sleep(self) -> None:
        """Let nobody in, wait for what runs, move the weights to the host's memory. Raises `InvalidSetting`."""
        if not self.llm.vllm_config.model_config.enable_sleep_mode:
            raise InvalidSetting("vllm.enable_sleep_mode", "must be true for an engine that sleeps; not on CPUs")
        if not await self.llm.is_sleeping():
            await self.turns.pause()
            with translated():
                await self.llm.sleep(level=1)

    async def wake(self) -> None:
        """Move them back and let in who waits."""
        if await self.llm.is_sleeping():
            with translated():
                await self.llm.wake_up()
        self.turns.resume()

    def abort(self, ids: list[str]) -> None:
        """Have vLLM end sequences; it is told in the background, since who asks may be cancelled meanwhile."""
        task = asyncio.create_task(self._abort(ids))
        self._aborting.add(task)
        task.add_done_callback(self._aborting.discard)

    async def aclose(self) -> None:
        """End what runs and what waits as cancelled, end vLLM's processes. A second call waits for the first."""
        if self._closing is None:
            self.turns.close()
            self._closing = asyncio.create_task(self._close())
        await asyncio.shield(self._closing)

    async def _close(self) -> None:
        for stream in tuple(self.streams):
            stream.end()
        if self._aborting:
            await asyncio.wait(self._aborting)
        llm, self.llm = self.llm, None
        if llm.output_handler is not None:
            llm.output_handler.cancel()  # else it takes the end of its processes for a crash
        await asyncio.to_thread(llm.shutdown)

    async def _abort(self, ids: list[str]) -> None:
        from vllm.v1.engine.exceptions import EngineDeadError

        try:
            await self.llm.abort(ids, internal=True)
        except EngineDeadError:
            return  # nothing runs any more

    def _drop(self, adding: asyncio.Future[Any]) -> None:
        if not adding.cancelled() and adding.exception() is None:
            self.abort([adding.result().request_id])


class Stream:
    """What vLLM gives for one request."""

    def __init__(self, core: Core, collector: Any, n: int, owner: object) -> None:
        self.owner = owner
        """The engine it was asked of."""
        self._core = core
        self._collector = collector
        self._n = n
        self._finished = False

    async def next(self, deadline: float | None) -> Any | None:
        """What there is since the last call, a `RequestOutput`; None: the deadline (`time.monotonic()` s) has passed.

        Raises `EngineFailed`.
        """
        left_s = None if deadline is None else deadline - time.monotonic()
        if left_s is not None and left_s <= 0:
            return None
        with translated():
            output = self._collector.get_nowait()
            if output is None:
                try:
                    async with asyncio.timeout(left_s):
                        output = await self._collector.get()
                except TimeoutError:
                    return None
        self._finished = self._finished or output.finished
        return output

    def abort(self, candidate: int) -> None:
        """End one candidate; the others go on."""
        own: str = self._collector.request_id
        self._core.abort([own if self._n == 1 else f"{candidate}_{own}"])

    def end(self) -> None:
        """End every candidate that has not ended; who reads learns it."""
        if not self._finished:
            self._core.abort([self._collector.request_id])

    def close(self) -> None:
        """Let go: end what has not ended, and read no more."""
        self.end()
        self._core.streams.discard(self)
        self._collector.close()
