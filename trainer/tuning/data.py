"""Groups as token ids, with what a loss needs to know of each response; what does not fit is left out and counted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TypeVar

from engine import EngineError, Tokenizer
from feedback import FeedbackError, prompt_from_data
from sandbox import ProgramClass
from trainer.errors import BadPlan
from trainer.groups import Group, Response, Split
from trainer.layout import Tokens
from trainer.tuning.recipe import Recipe

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One group, ready to be learnt from. The tuples have one entry a response."""

    tokens: Tokens
    scores: tuple[float, ...]
    eligible: tuple[bool, ...]
    """Which may be cloned."""
    passed: tuple[bool, ...]
    kinds: tuple[str, ...]
    """What responses are drawn from in turn: their class, or what a user said."""
    rate: float
    """Share of the student's samples that passed; of all responses where it sampled none that was run."""
    split: Split
    prompt_hash: str
    old: tuple[tuple[float, ...], ...] | None = None
    """Log-probability of each token under the model that training began from, where a loss asks for it."""

    def only(self, places: Sequence[int]) -> Example:
        """The same group with some of its responses, in the order given."""

        def of(values: tuple[T, ...]) -> tuple[T, ...]:
            return tuple(values[place] for place in places)

        return replace(
            self,
            tokens=Tokens(self.tokens.prompt, of(self.tokens.responses)),
            scores=of(self.scores),
            eligible=of(self.eligible),
            passed=of(self.passed),
            kinds=of(self.kinds),
            old=None if self.old is None else of(self.old),
        )


@dataclass(slots=True)
class Counts:
    """What became of the groups of a file."""

    groups: int = 0
    train: int = 0
    held_out: int = 0
    responses: int = 0
    """Of the groups that are learnt from or measured on."""
    too_long: int = 0
    """Responses that end beyond the context behind their prompt. They are left out, never cut: a program without its
    end would teach not to end."""
    unscored: int = 0
    """Responses of which nothing is known."""
    of_teachers: int = 0
    """Responses left out because teachers are not to be learnt from."""
    empty: int = 0
    """Responses without a token."""
    no_contrast: int = 0
    """Groups in which, of what is left, no two scores differ, for a loss that compares."""
    nothing_to_clone: int = 0
    """Groups without a response that may be cloned, for `sft`; other losses keep them."""

    def to_data(self) -> dict[str, int]:
        """As a line of metrics."""
        return asdict(self)


def examples_of(
    groups: Iterable[Group], tokenizer: Tokenizer, recipe: Recipe, context: int
) -> tuple[list[Example], Counts]:
    """Encode groups. `context` is the model's longest text, in tokens. Raises `BadPlan` for a prompt it cannot take."""
    longest = min(context, recipe.max_tokens or context)
    counts, examples = Counts(), []
    for group in groups:
        counts.groups += 1
        example = _encode(group, tokenizer, recipe, longest, counts)
        if example is None:
            continue
        examples.append(example)
        counts.responses += len(example.scores)
        if example.split == "train":
            counts.train += 1
        else:
            counts.held_out += 1
    return examples, counts


def _encode(group: Group, tokenizer: Tokenizer, recipe: Recipe, longest: int, counts: Counts) -> Example | None:
    try:
        prompt = tuple(tokenizer.encode_prompt(prompt_from_data(group.prompt)))
    except (EngineError, FeedbackError) as error:
        raise BadPlan(f"groups: prompt {group.prompt_hash}: {error}") from error
    kept: list[tuple[Response, tuple[int, ...]]] = []
    for response in group.responses:
        ids = tuple(tokenizer.encode(response.text))
        if response.ended and tokenizer.eos_id is not None:
            ids = (*ids, tokenizer.eos_id)
        if response.source == "teacher" and recipe.teachers == "none":
            counts.of_teachers += 1
        elif response.score is None:
            counts.unscored += 1
        elif not ids:
            counts.empty += 1
        elif len(prompt) + len(ids) > longest:
            counts.too_long += 1
        else:
            kept.append((response, ids))
    scores = tuple(float(response.score or 0.0) for response, _ in kept)
    eligible = tuple(may_be_cloned(response, recipe) for response, _ in kept)
    if recipe.loss == "sft":
        if not any(eligible):
            counts.nothing_to_clone += 1
            return None
    elif recipe.loss == "kto":
        if not kept:
            return None
    elif len(set(scores)) < 2:
        counts.no_contrast += 1
        return None
    return Example(
        tokens=Tokens(prompt, tuple(ids for _, ids in kept)),
        scores=scores,
        eligible=eligible,
        passed=tuple(_right(response) for response, _ in kept),
        kinds=tuple(response.said or str(response.program_class) for response, _ in kept),
        rate=_rate(group.responses),
        split=group.split,
        prompt_hash=group.prompt_hash,
    )


def may_be_cloned(response: Response, recipe: Recipe) -> bool:
    """Whether the likelihood of a response may be raised for its own sake.

    What passed may, and what was not run but comes from a teacher or from a user who stands by it. A teacher's program
    that failed may only with `teachers="any"`, as in the paper.
    """
    if response.source == "teacher" and recipe.teachers == "any":
        return True
    return _right(response) or (response.program_class is None and response.source == "teacher")


def _right(response: Response) -> bool:
    if response.program_class is not None:
        return response.program_class is ProgramClass.PASS
    return response.said in ("accept", "edit", "demonstration")


def _rate(responses: Sequence[Response]) -> float:
    ran = [response for response in responses if response.program_class is not None]
    own = [response for response in ran if response.source == "student"] or ran or list(responses)
    total = sum(response.count for response in own)
    return sum(response.count for response in own if _right(response)) / max(total, 1)
