"""What is kept of one problem: its samples, the verdicts on them, and the orders that methods put them in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from reranker.evaluation.measures import best_of_k, pass_at_k
from reranker.evaluation.problem import Tag
from sandbox import ProgramClass

GREEDY, RANDOM, ORACLE = "greedy", "random", "oracle"
"""What every method is held against: the sample at temperature 0, any sample, and a judge that is always right."""


def miscounted(samples: int, n: int, kind: str) -> str:
    """What is wrong with a problem's number of samples; empty where nothing is. Only given ones may be more than n."""
    if samples < n or (samples > n and kind != "samples"):
        return f"{samples} where {n} were asked for"
    return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One problem, sampled and judged. Samples are counted from 0, without the greedy one."""

    task_id: str
    position: int = 0
    """Its place among the problems that were chosen: those of the suite that the source has, in its order."""
    tags: Mapping[str, Tag] = field(default_factory=dict)
    texts: tuple[str, ...] = ()
    """Each distinct text that was judged, cut as the reranker cuts."""
    classes: tuple[ProgramClass | None, ...] = ()
    """The verdict of the hidden suite, one a text; None: nothing ran to say so."""
    samples: tuple[int, ...] = ()
    """One a sample, in the order they were sampled: which of `texts` it is."""
    greedy: int | None = None
    """Which of `texts` the greedy one is; None: none was sampled."""
    orders: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """By method: the samples by number, best first."""
    logprobs: tuple[float | None, ...] = ()
    """One a sample: mean natural log-probability a token."""
    tokens: int = 0
    """Every token sampled, the greedy ones too."""
    generate_s: float = 0.0
    judge_s: float = 0.0
    wall_s: float = 0.0
    """What this problem added to the wall time of its run: seconds since the one that finished before it."""
    unjudged: str = ""
    """Why the problem could not be judged; it then has no samples and counts in no measure."""

    def __post_init__(self) -> None:
        """Raises `ValueError`, naming the field, for numbers that point nowhere."""
        pointed = (*self.samples, *(() if self.greedy is None else (self.greedy,)))
        if len(self.classes) != len(self.texts):
            raise ValueError(f"classes: {self.task_id} needs one a text")
        if not all(0 <= text < len(self.texts) for text in pointed):
            raise ValueError(f"samples: {self.task_id} names a text that is not there")
        for name, order in self.orders.items():
            if sorted(order) != list(range(len(self.samples))):
                raise ValueError(f"orders: {name!r} does not put every sample of {self.task_id} in a place")

    @property
    def passes(self) -> tuple[bool, ...]:
        """One a sample."""
        return tuple(self.classes[text] is ProgramClass.PASS for text in self.samples)

    def value(self, name: str, k: int) -> float | None:
        """What a measure is worth here, in [0, 1]; None where it does not apply."""
        passes = self.passes
        if name == GREEDY:
            return None if self.greedy is None else float(self.classes[self.greedy] is ProgramClass.PASS)
        if not passes:
            return None
        if name in (RANDOM, ORACLE):
            return pass_at_k(len(passes), sum(passes), 1 if name == RANDOM else k)
        order = self.orders.get(name)
        return None if order is None else best_of_k([passes[sample] for sample in order], k)

    def to_data(self) -> dict[str, Any]:
        """JSON's own types, without what is empty."""
        return {key: value for key, value in asdict(self).items() if value not in ((), {}, "", None)}
