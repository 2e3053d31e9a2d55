"""The nouns of generation: what is asked of an engine and what it gives back.

One request carries one prompt of one of four kinds; the engine renders templates and owns the tokenizer. Frozen
records only. Nothing here imports torch, CTranslate2 or a web framework.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Literal, NamedTuple


@dataclass(frozen=True, slots=True)
class Text:
    """A prompt as text, encoded with the tokenizer's own special tokens."""

    text: str


@dataclass(frozen=True, slots=True)
class TokenIds:
    """A prompt as token ids of the served model, used as they are."""

    ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class Chat:
    """A conversation, rendered by the model's own chat template."""

    messages: tuple[Message, ...]


@dataclass(frozen=True, slots=True)
class Fim:
    """Fill in the middle: the model's own layout, by token id."""

    prefix: str
    suffix: str
    files: tuple[tuple[str, str], ...] = ()
    """Other files that may help, the most helpful last: path and text. Left out where the layout knows none."""
    path: str = ""
    """Of the file with the gap; told only beside other files."""


Prompt = Text | TokenIds | Chat | Fim
FinishReason = Literal["stop", "length", "cancelled"]


class Priority(IntEnum):
    """Who goes first in the engine's one waiting queue; lower is sooner."""

    AS_YOU_TYPE = 0
    INTERACTIVE = 1
    BATCH = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How tokens are drawn. `temperature` 0 is greedy. A value at its default asks for nothing special."""

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    """0 keeps the whole vocabulary."""
    max_tokens: int = 256
    fits_context: bool = False
    """Sample fewer than `max_tokens` where the prompt leaves less room, rather than refuse."""
    min_tokens: int = 0
    stop: tuple[str, ...] = ()
    """Generation ends before the first of these strings; it is not part of the text."""
    seed: int | None = None
    logprobs: int | None = None
    """How many alternatives a token to report beside the chosen one; None reports the chosen token's alone."""
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    repetition_penalty: float = 1.0
    logit_bias: tuple[tuple[int, float], ...] = ()

    def asked(self) -> frozenset[str]:
        """Names of the fields an engine may be unable to honour, where they differ from their neutral value."""
        neutral = {
            "top_k": 0,
            "min_tokens": 0,
            "seed": None,
            "presence_penalty": 0.0,
            "frequency_penalty": 0.0,
            "repetition_penalty": 1.0,
            "logit_bias": (),
        }
        asked = {name for name, value in neutral.items() if getattr(self, name) != value}
        return frozenset(asked | ({"logprobs"} if self.logprobs else set()))


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationRequest:
    """N samples of one prompt. Closing the iterator that `Engine.generate` returned cancels all of them."""

    id: str
    prompt: Prompt
    sampling: Sampling = field(default_factory=Sampling)
    n: int = 1
    priority: Priority = Priority.INTERACTIVE
    fairness_key: str = ""
    """Requests of different keys take turns in the queue."""
    max_prompt_tokens: int | None = None
    """A longer prompt is refused as too long; None: what the context holds."""
    deadline: float | None = None
    """`time.monotonic()` seconds; work past it is cancelled and its candidates end as `cancelled`."""


class TokenLogprob(NamedTuple):
    """One sampled token. A tuple, because one is made for every token sampled, in the engines' innermost loop."""

    id: int
    text: str
    logprob: float
    """Natural log-probability under the model's own distribution (temperature 1, nothing cut off)."""
    top: tuple[tuple[str, float], ...] = ()
    """The likeliest alternatives, best first, when they were asked for."""


@dataclass(frozen=True, slots=True)
class Started:
    """The request left the queue. Comes first, once."""

    prompt_tokens: int
    queue_s: float


@dataclass(frozen=True, slots=True)
class TextPiece:
    """Text sampled for one candidate since its last piece: whole characters, never part of a stop string."""

    candidate: int
    text: str
    tokens: tuple[TokenLogprob, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """One candidate is complete. `text` is all its pieces joined."""

    candidate: int
    text: str
    finish_reason: FinishReason
    tokens: tuple[TokenLogprob, ...]
    """Every sampled token of the candidate that belongs to `text`, in order; without the end-of-text token."""
    token_count: int
    """Tokens sampled, those of a cut stop string and the end-of-text token included: the work done."""
    prefill_s: float | None = None
    decode_s: float | None = None


Event = Started | TextPiece | Finished


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredCompletion:
    """Log-probabilities of a given completion after a prompt."""

    tokens: tuple[TokenLogprob, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineInfo:
    """What an engine is and what it honours."""

    engine: str
    model: str
    dtype: str
    """The type really used in computation, not the one asked for."""
    context_length: int
    fim: str | None = None
    """Name of the model's fill-in-the-middle layout; None when it has none."""
    honours: frozenset[str] = frozenset()
    """Those names of `Sampling.asked` that are honoured; any other asked for is refused by name."""
    chat: bool = False
    max_logprobs: int = 0
    """The most alternatives a token that can be reported."""
    seed_honoured: bool = False
    weights: str = ""
    """The model folder's id and a short hash of the weights; empty where there are none to hash."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineStats:
    """How busy an engine is; the totals count since it was made."""

    requests_running: int
    """Requests with work under way, or done and not yet fetched."""
    requests_waiting: int
    """Requests of which no candidate has begun."""
    rows_running: int = 0
    """Candidates being decoded now."""
    calls_by_rows: tuple[tuple[int, int], ...] = ()
    """How many batched calls were made with how many rows: pairs (rows, calls so far)."""
    sampled_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Threads:
    """How work is spread over cores."""

    intra: int
    """Threads a call."""
    workers: int
    """Calls at once."""
    reserved: int = 1
    """Further calls at once, kept for as-you-type requests."""
