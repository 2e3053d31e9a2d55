"""Requests that decode together, step by step: who takes part in a step, what is drawn from it, who ends.

Everything here runs on the engine's one worker thread; `Job.cancelled` is set from outside.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.cpu.network import Network, Part, Prompt, Tails
from engine.delivery import Mailbox
from engine.errors import EngineError
from engine.hf.decode import describe
from engine.hf.row import Row
from engine.hf.sampling import Sampler
from engine.tokens import Tokenizer
from engine.types import Event, FinishReason, GenerationRequest, Priority, ScoredCompletion, TokenLogprob

CHUNK = 256
"""Tokens of a prompt that join a step; the others' next tokens wait for them."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model in memory with what is needed to speak to it."""

    network: Network
    tokenizer: Tokenizer
    end_ids: tuple[int, ...]
    dtype: str
    context_length: int
    notes: tuple[str, ...] = ()
    """What was found out about this host."""

    @property
    def vocabulary(self) -> int:
        """Tokens that the model has, those without a text among them."""
        return len(self.network.embedding)


class Job:
    """A request. Its prompt's keys and values are made once, whatever the number of waves."""

    def __init__(self, request: GenerationRequest, ids: Sequence[int]) -> None:
        self.request, self.ids = request, ids
        self.cancelled = False
        self.events: Mailbox[Event | EngineError] = Mailbox()
        self.prompt: Prompt | None = None
        self.first: Tensor | None = None
        """Float[1, vocabulary]: what follows the prompt, once it has been read."""

    def cache(self, network: Network) -> Prompt:
        """The prompt's keys and values, as far as they are read; and of an only candidate all."""
        if self.prompt is None:
            room = min(self.request.sampling.max_tokens, CHUNK) if self.request.n == 1 else 0
            self.prompt = Prompt(network.shape, len(network.layers), len(self.ids) + room)
        return self.prompt


class Wave:
    """Some candidates of a request, which decode together; `rows` are those that still run."""

    def __init__(self, loaded: Loaded, job: Job, candidates: range) -> None:
        sampling = job.request.sampling
        self.job = job
        self.rows = [Row(loaded.tokenizer, loaded.end_ids, sampling, number) for number in candidates]
        self._prompt = job.cache(loaded.network)
        self._tails: Tails | None = None
        self._logits: Tensor | None = None  # Float[rows, vocabulary] to draw from next
        self._reads = True
        known = len(loaded.tokenizer.bytes_of)
        self._sampler = Sampler(sampling, job.ids, candidates, end_ids=loaded.end_ids, known_ids=known)
        self._began_s = time.monotonic()
        self._prefill_s = 0.0

    def ask(self) -> tuple[list[int], range | list[int], Part]:
        """Tokens, positions and part of the next step: a piece of the prompt, else the last token of each row."""
        ids, begin = self.job.ids, self._prompt.length
        if self.job.first is None:
            tokens = list(ids[begin : begin + CHUNK])
            return tokens, range(begin, begin + len(tokens)), self._prompt
        position = len(ids) + len(self.rows[0].ids) - 1
        return [row.ids[-1] for row in self.rows], [position] * len(self.rows), self._tails or self._prompt

    def answer(self, network: Network, x: Tensor) -> None:
        """Take what the step made of what was asked, Float[tokens, hidden]."""
        if self.job.first is not None:
            self._logits = network.logits(x)
        elif self._prompt.length == len(self.job.ids):
            self.job.first = network.logits(x[-1:])

    def draw(self, tokenizer: Tokenizer) -> list[Event]:
        """Sample a token for each row, where there is something to draw from; the events of those that end."""
        if self._reads and self.job.first is not None:
            self._reads = False
            self._logits = self.job.first.repeat(len(self.rows), 1)
            self._prefill_s = time.monotonic() - self._began_s
            # An only candidate goes on where its prompt's keys and values end: half the operations of a tail.
            self._tails = None if self.job.request.n == 1 else Tails(self._prompt, len(self.rows))
        if self._logits is None:
            return []
        logits, self._logits = self._logits, None
        tokens = self._sample(logits, tokenizer)
        events: list[Event] = []
        for at in reversed(range(len(tokens))):
            reason = self.rows[at].push(tokens[at])
            if reason is not None:
                events += self._end(at, reason)
        return events

    def stop(self, reason: FinishReason) -> list[Event]:
        """End every row that still runs."""
        return [event for at in reversed(range(len(self.rows))) for event in self._end(at, reason)]

    def take(self) -> list[Event]:
        """What can be shown of the rows that run."""
        return [piece for row in self.rows if (piece := row.transcript.take()) is not None]

    def _sample(self, logits: Tensor, tokenizer: Tokenizer) -> list[TokenLogprob]:
        rows, alternatives = self.rows, self.job.request.sampling.logprobs or 0
        if alternatives:
            logprobs = logits.log_softmax(-1)
            drawn = self._sampler.draw(logits, [(row.candidate, row.ids) for row in rows])
            return [describe(tokenizer, token, logprobs[at], alternatives) for at, token in enumerate(drawn)]
        total, own = logits.logsumexp(-1, keepdim=True), logits.clone() if self._sampler.adjusts else logits
        drawn = self._sampler.draw(logits, [(row.candidate, row.ids) for row in rows])
        values = (own.gather(-1, torch.tensor(drawn)[:, None]) - total).flatten().tolist()
        return [
            TokenLogprob(token, tokenizer.text_of(token), value) for token, value in zip(drawn, values, strict=True)
        ]

    def _end(self, at: int, reason: FinishReason) -> list[Event]:
        """End a row; the last one takes its place, so that those that run lie together and nothing else is copied."""
        row, last = self.rows[at], self.rows.pop()
        if row is not last:
            self.rows[at] = last
            if self._tails is not None:
                self._tails.move(len(self.rows), at)
        return row.end(reason, self._prefill_s, time.monotonic() - self._began_s - self._prefill_s)


class Batch:
    """The waves that run."""

    def __init__(self) -> None:
        self._waves: list[Wave] = []
        self.steps_by_rows: Counter[int] = Counter()
        self.sampled_tokens = 0

    @property
    def rows(self) -> int:
        """How many candidates run."""
        return sum(len(wave.rows) for wave in self._waves)

    def burst(self, loaded: Loaded, joining: Iterable[tuple[Job, range]], least_s: float) -> list[tuple[Job, Event]]:
        """Steps for about `least_s` seconds, or until all is done; the events, in order. Others' candidates join."""
        began_s = time.monotonic()
        events: list[tuple[Job, Event]] = []
        with torch.inference_mode():
            self._waves += [Wave(loaded, job, candidates) for job, candidates in joining]
            while self._waves:
                events += self._step(loaded)
                if time.monotonic() - began_s >= least_s:
                    break
        return events + [(wave.job, piece) for wave in self._waves for piece in wave.take()]

    def drop(self) -> list[Job]:
        """Forget all waves, after an error; their jobs."""
        jobs, self._waves = [wave.job for wave in self._waves], []
        return jobs

    def _step(self, loaded: Loaded) -> list[tuple[Job, Event]]:
        """Draw from what the last step gave, drop what ended, and compute the next step of the rest, together."""
        events: list[tuple[Job, Event]] = []
        for wave in self._waves:
            events += [(wave.job, event) for event in _advance(loaded, wave)]
        self._waves = [wave for wave in self._waves if wave.rows]
        if self._waves:
            self._compute(loaded, _taking_part(self._waves))
        return events

    def _compute(self, loaded: Loaded, waves: list[Wave]) -> None:
        asked = [wave.ask() for wave in waves]
        tokens = [token for part_tokens, _, _ in asked for token in part_tokens]
        positions = [position for _, part_positions, _ in asked for position in part_positions]
        counts = [len(part_tokens) for part_tokens, _, _ in asked]
        parts = [(part, count) for (_, _, part), count in zip(asked, counts, strict=True)]
        x = loaded.network.step(tokens, positions, parts)
        for wave, rows in zip(waves, torch.split(x, counts), strict=True):
            wave.answer(loaded.network, rows)
        drawing = sum(len(wave.rows) for wave in waves if wave.job.first is not None)
        self.steps_by_rows[drawing] += 1
        self.sampled_tokens += drawing


def _advance(loaded: Loaded, wave: Wave) -> list[Event]:
    """Draw, unless the time is over."""
    request = wave.job.request
    if not request.sampling.max_tokens:
        return wave.stop("length")
    if wave.job.cancelled or (request.deadline is not None and time.monotonic() >= request.deadline):
        return wave.stop("cancelled")
    return wave.draw(loaded.tokenizer)


def _taking_part(waves: list[Wave]) -> list[Wave]:
    """Who takes part in the next step: the as-you-type ones alone where there are any, and of those whose prompt is not
    read yet the first.
    """
    typed = [wave for wave in waves if wave.job.request.priority is Priority.AS_YOU_TYPE]
    chosen = typed or waves
    reading = [wave for wave in chosen if wave.job.first is None]
    return [wave for wave in chosen if wave.job.first is not None or wave is reading[0]]


def score(loaded: Loaded, before: Sequence[int], completions: Sequence[Sequence[int]]) -> list[ScoredCompletion]:
    """Log-probabilities of each completion's tokens; the prompt is read once."""
    network = loaded.network
    prompt = Prompt(network.shape, len(network.layers), len(before) + max(map(len, completions), default=0))
    scored: list[ScoredCompletion] = []
    with torch.inference_mode():
        last = read(network, prompt, before)[-1:]
        for ids in completions:
            logits = torch.cat((last, read(network, prompt, ids[:-1])))
            prompt.length = len(before)  # what was read of the completion is written over by the next
            logprobs = logits.log_softmax(-1)
            tokens = tuple(describe(loaded.tokenizer, token, logprobs[at], 0) for at, token in enumerate(ids))
            scored.append(ScoredCompletion(tokens=tokens))
    return scored


def read(network: Network, prompt: Prompt, ids: Sequence[int]) -> Tensor:
    """Float[len(ids), vocabulary]: the logits after each of these tokens, which are added to the prompt."""
    chunks = [torch.empty(0, len(network.embedding))]
    for start in range(0, len(ids), CHUNK):
        chunk, begin = ids[start : start + CHUNK], prompt.length
        x = network.step(chunk, range(begin, begin + len(chunk)), [(prompt, len(chunk))])
        chunks.append(network.logits(x))
    return torch.cat(chunks)
