"""An engine that answers from a script: deterministic, quick, for tests, demonstrations and load tests.

A token is one character and its id the character's code point, so any text has known counts, can be scored, and a
prompt of token ids reads back as text. At temperature 0 every candidate takes the script's first completion; above, the
i-th candidate takes the i-th, round and round. After a completion's last character comes an end-of-text token.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from engine.admission import fit_context, refuse_prompt, refuse_unsupported
from engine.errors import UnsupportedField
from engine.transcript import Transcript
from engine.turns import TakesTurns, Turns
from engine.types import (
    Chat,
    EngineInfo,
    Event,
    Fim,
    FinishReason,
    GenerationRequest,
    Prompt,
    Sampling,
    ScoredCompletion,
    Started,
    Text,
    TokenIds,
    TokenLogprob,
)

FILL = "<FILL>"
"""Stands between prefix and suffix in the script's text for a fill-in-the-middle prompt."""
ALTERNATIVES = 5


@dataclass(frozen=True, slots=True)
class Scripted:
    """One completion of a script."""

    text: str
    logprob: float = -0.5
    """Of every token."""
    delay_s: float = 0.0
    """Before every token."""


Completions = Sequence[str | Scripted]
Script = Mapping[str, Completions] | Callable[[str], Completions]


class ScriptedEngine(TakesTurns):
    """Answers a prompt's text from a table or a function; texts the table lacks get `otherwise`."""

    def __init__(
        self,
        script: Script,
        *,
        otherwise: Completions = ("",),
        model_name: str = "scripted",
        context_length: int = 100_000,
        max_running: int = 64,
        max_waiting: int = 256,
    ) -> None:
        self._script = script
        self._otherwise = otherwise
        self._turns = Turns(max_running=max_running, max_waiting=max_waiting)
        self._info = EngineInfo(
            engine="scripted",
            model=model_name,
            dtype="none",
            context_length=context_length,
            fim="scripted",
            honours=frozenset({"logprobs", "seed"}),
            chat=True,
            max_logprobs=ALTERNATIVES,
            seed_honoured=True,
        )

    @property
    def info(self) -> EngineInfo:
        """What this engine is; constant."""
        return self._info

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[Event, None]:
        """See `Engine.generate`."""
        refuse_unsupported(self._info, request)
        prompt = prompt_text(request.prompt)
        request = fit_context(self._info, request, len(prompt))
        queue_s = await self._turns.enter(request)
        try:
            yield Started(max(1, len(prompt)), queue_s)
            runs = [self._run(prompt, candidate, request.sampling) for candidate in range(request.n)]
            while runs:
                late = request.deadline is not None and time.monotonic() >= request.deadline
                cancelled = late or self._turns.closed
                for run in runs:
                    for event in run.advance(cancelled):
                        yield event
                runs = [run for run in runs if not run.over]
                await asyncio.sleep(max((run.delay_s for run in runs), default=0.0))
        finally:
            self._turns.leave()

    async def score(self, prompt: Prompt, completions: Sequence[str]) -> list[ScoredCompletion]:
        """The script's log-probabilities for completions it knows the beginning of; the default one for others."""
        refuse_prompt(self._info, prompt)
        known = [_scripted(entry) for entry in self._completions(prompt_text(prompt))]

        def logprob(text: str) -> float:
            return next((entry.logprob for entry in known if entry.text.startswith(text)), Scripted("").logprob)

        return [ScoredCompletion(tokens=tokens_of(text, logprob(text), 0)) for text in completions]

    async def aclose(self) -> None:
        """End what runs and what waits as cancelled."""
        self._turns.close()

    def _completions(self, prompt: str) -> Completions:
        found = self._script(prompt) if callable(self._script) else self._script.get(prompt, self._otherwise)
        return found or ("",)

    def _run(self, prompt: str, candidate: int, sampling: Sampling) -> _Run:
        completions = self._completions(prompt)
        return _Run(
            candidate, _scripted(completions[candidate % len(completions) if sampling.temperature else 0]), sampling
        )


async def load(*, script: Path | str, model_name: str = "scripted", **limits: int) -> ScriptedEngine:
    """An engine for the script in a JSON file: an object from prompt to a list of completions; "" is for others."""
    table = json.loads(await asyncio.to_thread(Path(script).read_text, encoding="utf-8"))
    return ScriptedEngine(table, otherwise=table.get("", ("",)), model_name=model_name, **limits)


class _Run:
    """One candidate on its way through its completion."""

    def __init__(self, candidate: int, completion: Scripted, sampling: Sampling) -> None:
        self._candidate = candidate
        self._text = completion.text
        self._tokens = tokens_of(completion.text, completion.logprob, sampling.logprobs or 0)
        self._transcript = Transcript(candidate, sampling)
        self._began = time.monotonic()
        self._at = 0
        self._reason: FinishReason | None = None if sampling.max_tokens else "length"
        self.delay_s = completion.delay_s
        self.over = False

    def advance(self, cancelled: bool) -> Iterator[Event]:
        """One token of a completion with delays, else all that is left."""
        if cancelled:
            self._reason = "cancelled"
        while self._reason is None:
            self._reason = self._next()
            if self.delay_s:
                break
        self.over = self._reason is not None
        piece = self._transcript.finish() if self.over else self._transcript.take()
        if piece is not None:
            yield piece
        if self._reason is not None:
            yield self._transcript.finished(self._reason, prefill_s=0.0, decode_s=time.monotonic() - self._began)

    def _next(self) -> FinishReason | None:
        if self._at == len(self._tokens):
            self._transcript.end_of_text()
            return "stop"
        self._at += 1
        return self._transcript.push(self._tokens[self._at - 1], self._text[self._at - 1])


def prompt_text(prompt: Prompt) -> str:
    """What a script looks a prompt up by: its text; a conversation's last message; a gap marked by `FILL`.

    Raises `UnsupportedField`.
    """
    match prompt:
        case Text():
            return prompt.text
        case Chat():
            return prompt.messages[-1].content if prompt.messages else ""
        case Fim():
            return prompt.prefix + FILL + prompt.suffix
        case TokenIds():
            if any(not 0 <= token <= sys.maxunicode for token in prompt.ids):
                raise UnsupportedField("prompt", f"token ids go from 0 to {sys.maxunicode}: here they are characters")
            return "".join(map(chr, prompt.ids))


@lru_cache(maxsize=256)
def tokens_of(text: str, logprob: float, alternatives: int) -> tuple[TokenLogprob, ...]:
    """The tokens of a text, one a character; alternatives beside the chosen one are made up, ever less likely."""
    made: dict[str, TokenLogprob] = {}
    for character in text:
        if character not in made:
            others = [(chr(ord("a") + rank), logprob - rank) for rank in range(1, alternatives)]
            top = ((character, logprob), *others) if alternatives else ()
            made[character] = TokenLogprob(ord(character), character, logprob, top)
    return tuple(made[character] for character in text)


def _scripted(entry: str | Scripted) -> Scripted:
    return entry if isinstance(entry, Scripted) else Scripted(entry)
