"""The `Engine` port."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
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
