"""Requests that decode together, step by step: who takes part in a step, what is drawn from it, who ends.

Everything here runs on the engine's one worker thread; `Job.cancelled` is set from outside.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from engine.cpu.network import ROUND, Block, Network, Part
from engine.delivery import Mailbox
from engine.errors import EngineError
from engine.hf.one_thread import Loaded
from engine.hf.row import Row, describe
from engine.hf.sampling import Sampler
from engine.types import Event, FinishReason, GenerationRequest, Priority, ScoredCompletion

CHUNK = 256
"""Tokens of a prompt that join a step; the others' next tokens wait for them."""


class Job:
    """A request with those of its candidates that decode now; its prompt is read once, whatever the number of waves."""

    def __init__(self, loaded: Loaded[Network], request: GenerationRequest, ids: Sequence[int]) -> None:
        self.loaded, self.request, self.ids = loaded, request, ids
        self.cancelled = False
        self.events: Mailbox[Event | EngineError] = Mailbox()
        self.rows: list[Row] = []
        """The candidates that still run."""
        self._prompt: Block | None = None
        self._tails: Block | None = None
        self._first: Tensor | None = None  # Float[1, vocabulary] after the prompt, once it has been read
        self._logits: Tensor | None = None  # Float[rows, vocabulary] to draw from next

    @property
    def reading(self) -> bool:
        """Whether the prompt is not read yet."""
        return self._first is None

    def begin(self, candidates: range) -> None:
        """Start these candidates; the ones before them have ended."""
        loaded, sampling = self.loaded, self.request.sampling
        self.rows = [Row(loaded.tokenizer, loaded.end_ids, sampling, number) for number in candidates]
        known = len(loaded.tokenizer.bytes_of)
        self._sampler = Sampler(sampling, self.ids, candidates, end_ids=loaded.end_ids, known_ids=known)
        self._began_s, self._prefill_s = time.monotonic(), 0.0
        self._tails = None
        self._fan_out()

    def ask(self) -> tuple[Sequence[int], Sequence[int], Part]:
        """Tokens, positions and part of the next step: a piece of the prompt, else the last token of each row."""
        if self._prompt is None:
            room = min(self.request.sampling.max_tokens, CHUNK) if self.request.n == 1 else 0
            self._prompt = Block(self.loaded.model.shape, 1, len(self.ids) + room)
        begin, rows = self._prompt.length, self.rows
        if self.reading:
            tokens = self.ids[begin : begin + CHUNK]
            return tokens, range(begin, begin + len(tokens)), Part(self._prompt, None, len(tokens))
        position = len(self.ids) + len(rows[0].ids) - 1
        return [row.ids[-1] for row in rows], [position] * len(rows), Part(self._prompt, self._tails, len(rows))

    def answer(self, x: Tensor) -> None:
        """Take what the step made of what was asked, Float[tokens, hidden]."""
        if not self.reading:
            self._logits = self.loaded.model.logits(x)
        elif self._prompt is not None and self._prompt.length == len(self.ids):
            self._first = self.loaded.model.logits(x[-1:])
            self._fan_out()

    def advance(self) -> list[Event]:
        """Draw a token for each row, where there is something to draw from and time left; the events of those that
        end.
        """
        sampling, deadline = self.request.sampling, self.request.deadline
        if not sampling.max_tokens:
            return self.stop("length")
        if self.cancelled or (deadline is not None and time.monotonic() >= deadline):
            return self.stop("cancelled")
        if self._logits is None:
            return []
        logits, self._logits = self._logits, None
        drawn = self._sampler.draw(logits, [(row.candidate, row.ids) for row in self.rows])
        tokens = describe(self.loaded.tokenizer, logits, drawn, sampling.logprobs or 0)
        events: list[Event] = []
        for at in reversed(range(len(tokens))):
            reason = self.rows[at].push(tokens[at])
            if reason is not None:
                events += self._end(at, reason)
        return events

    def stop(self, reason: FinishReason) -> list[Event]:
        """End every row that still runs."""
        return [event for at in reversed(range(len(self.rows))) for event in self._end(at, reason)]

    def _fan_out(self) -> None:
        """From the end of the prompt, once it is read, to a first token for each candidate."""
        if self._first is not None and self._prompt is not None:
            self._logits = self._first.expand(len(self.rows), -1)
            self._prefill_s = time.monotonic() - self._began_s
            self._tails = None if self.request.n == 1 else Block(self._prompt.shape, len(self.rows), ROUND)

    def _end(self, at: int, reason: FinishReason) -> list[Event]:
        """End a row; the last one takes its place, and nothing else is copied."""
        row, self.rows[at] = self.rows[at], self.rows[-1]
        self.rows.pop()
        if self._tails is not None:
            self._tails.drop(at)
        return row.end(reason, self._prefill_s, time.monotonic() - self._began_s - self._prefill_s)


class Batch:
    """The requests that run."""

    def __init__(self) -> None:
        self._jobs: list[Job] = []
        self.steps_by_rows: Counter[int] = Counter()
        self.sampled_tokens = 0

    @property
    def rows(self) -> int:
        """How many candidates run."""
        return sum(len(job.rows) for job in self._jobs)

    @torch.inference_mode()
    def burst(self, network: Network, joining: Iterable[tuple[Job, range]], least_s: float) -> list[tuple[Job, Event]]:
        """Steps for about `least_s` seconds, or until all is done; the events, in order. Others' candidates join."""
        began_s = time.monotonic()
        events: list[tuple[Job, Event]] = []
        for job, candidates in joining:
            job.begin(candidates)
            self._jobs.append(job)
        while self._jobs:
            events += self._step(network)
            if time.monotonic() - began_s >= least_s:
                break
        pieces = ((job, row.transcript.take()) for job in self._jobs for row in job.rows)
        return events + [(job, piece) for job, piece in pieces if piece is not None]

    def drop(self) -> list[Job]:
        """Forget all of them, after an error."""
        jobs, self._jobs = self._jobs, []
        return jobs

    def _step(self, network: Network) -> list[tuple[Job, Event]]:
        """Draw from what the last step gave, drop what ended, and compute the next step of the rest, together."""
        events = [(job, event) for job in self._jobs for event in job.advance()]
        self._jobs = [job for job in self._jobs if job.rows]
        jobs = _taking_part(self._jobs)
        if jobs:
            asked = [job.ask() for job in jobs]
            tokens = [token for some, _, _ in asked for token in some]
            positions = [position for _, some, _ in asked for position in some]
            parts = [part for _, _, part in asked]
            x = torch.split(network.step(tokens, positions, parts), [part.rows for part in parts])
            for job, rows in zip(jobs, x, strict=True):
                job.answer(rows)
            drawing = sum(len(job.rows) for job in jobs if not job.reading)
            self.steps_by_rows[drawing] += 1
            self.sampled_tokens += drawing
        return events


def _taking_part(jobs: list[Job]) -> list[Job]:
    """Who takes part in the next step: the as-you-type ones alone where there are any, and of those whose prompt is not
    read yet the first.
    """
    chosen = [job for job in jobs if job.request.priority is Priority.AS_YOU_TYPE] or jobs
    first = next((job for job in chosen if job.reading), None)
    return [job for job in chosen if not job.reading or job is first]


@torch.inference_mode()
def score(
    loaded: Loaded[Network], before: Sequence[int], completions: Sequence[Sequence[int]]
) -> list[ScoredCompletion]:
    """Log-probabilities of each completion's tokens; the prompt is read once."""
    network, tokenizer = loaded.model, loaded.tokenizer
    prompt = Block(network.shape, 1, len(before) + max(map(len, completions), default=0))
    last = read(network, prompt, before)[-1:]
    scored: list[ScoredCompletion] = []
    for ids in completions:
        logits = torch.cat((last, read(network, prompt, ids[:-1])))[: len(ids)]
        prompt.length = len(before)  # what was read of the completion is written over by the next
        scored.append(ScoredCompletion(tokens=tuple(describe(tokenizer, logits, ids, 0))))
    return scored


def read(network: Network, prompt: Block, ids: Sequence[int]) -> Tensor:
    """Float[len(ids), vocabulary]: the logits after each of these tokens, which are added to the prompt."""
    chunks = [torch.empty(0, len(network.embedding))]
    for start in range(0, len(ids), CHUNK):
        chunk, begin = ids[start : start + CHUNK], prompt.length
        part = Part(prompt, None, len(chunk))
        chunks.append(network.logits(network.step(chunk, range(begin, begin + len(chunk)), [part])))
    return torch.cat(chunks)
