"""The nouns of training: a group is one prompt with everything that was answered to it, judged.

Frozen records, on their way from the log, from files and from fresh samples to the losses. What was not run is None.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, Literal

from sandbox import ProgramClass

Source = Literal["student", "teacher", "user"]
Split = Literal["train", "held_out"]
Word = Literal["accept", "reject", "edit", "demonstration"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """One distinct answer to a prompt."""

    text: str
    """What is learnt, right after the prompt: as it was tested where code is completed, the whole reply in chats."""
    ended: bool
    """Whether the end-of-text token belongs after it; False where sampling was cut off at a length."""
    program_class: ProgramClass | None
    """The RRTF ladder (arXiv 2307.14936, 3.2); None where it was not run."""
    fraction: float | None
    """Share of the suite's tests that passed."""
    score: float | None
    """What the losses order by, see `trainer.groups.ladder`; None where nothing is known of it."""
    source: Source
    model: str = ""
    """Name of the model that wrote it; for users and files, where it is from."""
    round: int | None = None
    exchange_id: str | None = None
    shown: bool = False
    rank: int | None = None
    """Its place in the order that the reranker made; 0 is the best."""
    propensity: float | None = None
    """Chance that it was shown, under what chose then; None where that is not known."""
    mean_logprob: float | None = None
    """Under the model that sampled it, in nats a token."""
    count: int = 1
    """Samples that were this program, by abstract syntax tree."""
    said: Word | None = None
    """What a user did with it."""


RESPONSE_FIELDS = tuple(Response.__dataclass_fields__)
values_of = attrgetter(*RESPONSE_FIELDS)
"""The values of a response, in the order of `RESPONSE_FIELDS`: at once, as logs are long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """One prompt with its responses, the best first."""

    prompt: dict[str, Any]
    """As the log keeps it: `feedback.prompt_from_data` makes the engine's prompt of it."""
    prompt_hash: str
    """Of the prompt; it decides the split, so that no prompt is on both sides."""
    split: Split
    task: dict[str, Any] = field(default_factory=dict)
    """`{"shape", "prefix", "suffix", "entry_point"}`, as in `feedback.Exchange`."""
    suite: dict[str, Any] | None = None
    """`{"form", "body", "visible", "hash"}` of the suite that judged; None where only users did."""
    key_id: str | None = None
    """Whose exchange it was."""
    responses: tuple[Response, ...]
