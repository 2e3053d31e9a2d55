"""The `Engine` port."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

from engine.types import EngineInfo, Event, GenerationRequest, Priority, Prompt, ScoredCompletion


class Engine(Protocol):
    """Samples completions of a prompt. One waiting queue, inside the engine; none before it."""

    @property
    def info(self) -> EngineInfo: ...

    def generate(self, request: GenerationRequest) -> AsyncGenerator[Event, None]:
        """Yield one `Started`, then pieces as they are sampled, and one `Finished` to end each candidate.

        Closing the generator (`aclose()`, or cancelling its task) stops queueing and decoding of what is unfinished.
        Raises `ContextTooLong`, `UnsupportedField`, `Overloaded` before the first event; `EngineFailed` at any time.
        """
        ...

    async def score(self, prompt: Prompt, completions: Sequence[str]) -> list[ScoredCompletion]:
        """Log-probabilities of each completion's tokens, given the prompt."""
        ...

    async def aclose(self) -> None:
        """Cancel what runs, free the model."""
        ...


@runtime_checkable
class Queueing(Protocol):
    """An engine that knows beforehand whether its queue has a place, before a prompt is so much as encoded."""

    def check_room(self, priority: Priority, key: str, deadline: float | None = None) -> None:
        """Raise `Overloaded` where a request of this class and fairness key would be refused now, or would still be
        waiting at `deadline` (`time.monotonic()` seconds) by what the queue took lately. `key` "": whosever it is.
        """
        ...


@runtime_checkable
class TakesRounds(Protocol):
    """An engine on whose weights further rounds are served: an adapter of them, or they themselves once more."""

    @property
    def info(self) -> EngineInfo: ...

    def takes_round(self, base: str, adapter: Path | None) -> bool:
        """Whether it computes with these weights (as `EngineInfo.weights` names them) and takes the adapter's size."""
        ...

    async def with_round(self, adapter: Path | None, *, model_name: str, weights: str) -> Engine:
        """A round as an engine of its own, to be closed like any other: the weights with the adapter in this folder, in
        PEFT's layout; None: as they are.
        """
        ...


@runtime_checkable
class Sleeps(Protocol):
    """An engine that can give a GPU back for a while, and keep what is quick to load again."""

    async def sleep(self) -> None:
        """Finish what runs, then free the GPU; newcomers wait until `wake`. Asleep already: nothing.

        Raises `InvalidSetting` where its settings, or the device, do not allow it.
        """
        ...

    async def wake(self) -> None:
        """Take the GPU again and go on. Awake already: nothing."""
        ...
