"""A request under way: its state on the event loop, and the slices of it that workers take."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from engine.delivery import Mailbox
from engine.errors import EngineError
from engine.types import Event, Finished, GenerationRequest, Sampling, Started, TextPiece

MAX_HYPOTHESES = 8
"""Candidates a slice: between two slices of a request the queue is looked at."""
LOGITS_BYTES = 256 * 2**20
"""Memory for logits that one call may gather."""


class Options(NamedTuple):
    """What all rows of one call must have in common."""

    greedy: bool
    temperature: float
    top_p: float
    top_k: int
    min_tokens: int
    repetition_penalty: float
    logits: bool
    """Whether every step hands over its logits."""


def options_of(sampling: Sampling, vocabulary: int) -> Options:
    """The options of a request; those that mean the same are equal."""
    logits = bool(sampling.logprobs) or sampling.repetition_penalty != 1.0
    shared = (sampling.min_tokens, sampling.repetition_penalty, logits)
    if sampling.temperature == 0 or sampling.top_k == 1:
        return Options(True, 1.0, 1.0, 1, *shared)
    top_k = sampling.top_k if sampling.top_k < vocabulary else 0
    return Options(False, sampling.temperature, sampling.top_p, top_k, *shared)


class Job:
    """One request. Workers read `cancelled`; all else belongs to the loop's thread, except where noted."""

    def __init__(self, request: GenerationRequest, prompt: tuple[str, ...], options: Options) -> None:
        self.request = request
        self.prompt = prompt
        self.options = options
        self.cancelled = False
        self.submitted_s = 0.0
        self.started_s: float | None = None
        """When its first slice was taken; set under the workers' lock."""
        self.first_piece_sent = False
        """Of the worker's threads."""
        self.events: Mailbox[Event | EngineError] = Mailbox()
        self._open = set(range(request.n))
        self._pieces: dict[int, list[TextPiece]] = {number: [] for number in range(request.n)}
        self._announced = False

    def receive(self, event: Event | EngineError) -> None:
        """Hand an event to the reader, unless its candidate has been ended from this side."""
        match event:
            case Started():
                if self._announced:
                    return
                self._announced = True
            case TextPiece() | Finished():
                if event.candidate not in self._open:
                    return
                if isinstance(event, TextPiece):
                    self._pieces[event.candidate].append(event)
                else:
                    self._open.remove(event.candidate)
        self.events.put(event)

    def end(self, queue_s: float) -> None:
        """End every candidate that has not ended, with the text the reader has seen. `queue_s` for one that waited."""
        self.receive(Started(len(self.prompt), queue_s))
        for candidate in sorted(self._open):
            pieces = self._pieces[candidate]
            tokens = tuple(token for piece in pieces for token in piece.tokens)
            self.receive(
                Finished(
                    candidate=candidate,
                    text="".join(piece.text for piece in pieces),
                    finish_reason="length" if not self.request.sampling.max_tokens else "cancelled",
                    tokens=tokens,
                    token_count=len(tokens),
                )
            )


@dataclass(frozen=True, eq=False)
class Slice:
    """Some candidates of a job, decoded in one call from one prefill.

    Another slice of the same job prefills again: CTranslate2 keeps a prompt's state only as a `static_prompt`, which it
    never forgets until the model is unloaded.
    """

    job: Job
    candidates: range

    def joins(self, other: Slice) -> bool:
        """Whether both can share a call.

        Only the shortest prompt's length is prefilled at once, and the rest token by token: lengths must be near.
        """
        ours, theirs = len(self.job.prompt), len(other.job.prompt)
        return (
            self.job is not other.job
            and self.job.options == other.job.options
            and not self.job.options.logits
            and len(self.candidates) == len(other.candidates)
            and abs(ours - theirs) <= max(4, min(ours, theirs) // 16)
        )


def slices_of(job: Job, vocabulary: int) -> Iterator[Slice]:
    """Cut a job into slices."""
    sampling = job.request.sampling
    most = MAX_HYPOTHESES
    if job.options.logits:
        most = max(1, min(most, LOGITS_BYTES // (4 * vocabulary * max(1, sampling.max_tokens))))
    for first in range(0, job.request.n, most):
        yield Slice(job, range(first, min(first + most, job.request.n)))
