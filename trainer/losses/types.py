"""What a loss is given and what it gives."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from trainer.errors import BadShapes


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """Several prompts ("queries") with their judged responses, padded to one size.

    One prompt is one row of `queries`, and no loss compares responses of different rows. What stands where `mask` or
    `present` is False counts for nothing.

    Raises `BadShapes` when made of tensors that do not belong together: RRHF's released code broadcasts a reward
    vector of one dimension and silently loses nothing by it (its issue 29).
    """

    logprobs: Tensor
    """(queries, responses, tokens): log-probability of each token of each response, in nats."""
    mask: Tensor
    """(queries, responses, tokens) of bool: which are tokens, not padding."""
    scores: Tensor
    """(queries, responses): what responses are ordered by; a higher one is better."""
    present: Tensor
    """(queries, responses) of bool: which are responses, not padding."""
    eligible: Tensor
    """(queries, responses) of bool: which may be cloned."""
    passed: Tensor
    """(queries, responses) of bool: which are right."""
    rates: Tensor
    """(queries,): share of samples of the prompt that are right."""
    old: Tensor | None = None
    """Like `logprobs`: under the model that training began from, without gradient."""

    def __post_init__(self) -> None:
        if self.logprobs.ndim != 3:
            raise BadShapes(f"logprobs: {tuple(self.logprobs.shape)} is not (queries, responses, tokens)")
        whole, two = self.logprobs.shape, self.logprobs.shape[:2]
        for name, expected in (
            ("mask", whole), ("scores", two), ("present", two), ("eligible", two), ("passed", two), ("rates", two[:1])
        ):  # fmt: skip
            found = tuple(getattr(self, name).shape)
            if found != tuple(expected):
                raise BadShapes(f"{name}: {found} where logprobs are {tuple(whole)}; expected {tuple(expected)}")
        if self.old is not None and self.old.shape != whole:
            raise BadShapes(f"old: {tuple(self.old.shape)} where logprobs are {tuple(whole)}")


@dataclass(frozen=True, slots=True)
class Loss:
    """A value a prompt. The mean over all prompts of a step is what is minimised, wherever they were computed."""

    total: Tensor
    """(queries,)."""
    parts: dict[str, Tensor] = field(default_factory=dict)
    """What `total` is the weighted sum of, unweighted; each (queries,)."""
