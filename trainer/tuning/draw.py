"""Which prompts and responses a step has, and how they are shared out: all of it follows from the seed and the step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

from trainer.tuning.data import Example
from trainer.tuning.recipe import Recipe


@dataclass(frozen=True, slots=True)
class Pass:
    """The prompts of one forward pass. `counts` says whether they are part of the step.

    Processes make equally many passes a step, as sharded models need; one that has none left repeats a prompt that
    counts for nothing.
    """

    examples: tuple[Example, ...]
    counts: bool = True


def steps_an_epoch(examples: int, recipe: Recipe) -> int:
    """How many; the last may have fewer prompts."""
    return -(-examples // recipe.prompts)


def step_examples(examples: Sequence[Example], recipe: Recipe, step: int) -> list[Example]:
    """The prompts of a step, counted from 0 over all epochs, each with the responses drawn for that epoch."""
    epoch, place = divmod(step, steps_an_epoch(len(examples), recipe))
    order = list(range(len(examples)))
    Random(f"order {recipe.seed} {epoch}").shuffle(order)  # noqa: S311  (an order, not a secret)
    chosen = order[place * recipe.prompts : (place + 1) * recipe.prompts]
    return [draw(examples[number], recipe, f"{epoch} {number}") for number in chosen]


def draw(example: Example, recipe: Recipe, when: str) -> Example:
    """At most `recipe.responses` of a group: the best that may be cloned, then one of each kind in turn."""
    if len(example.scores) <= recipe.responses:
        return example
    random = Random(f"responses {recipe.seed} {when}")  # noqa: S311
    drawn = [max(cloned, key=lambda place: example.scores[place])] if (cloned := _where(example.eligible)) else []
    by_kind: dict[str, list[int]] = {kind: [] for kind in (example.kinds[place] for place in drawn)}
    for place, kind in enumerate(example.kinds):
        by_kind.setdefault(kind, [])
        if place not in drawn:
            by_kind[kind].append(place)
    turns = list(by_kind.values())
    for places in turns:
        random.shuffle(places)
    turn = len(drawn)  # the kind of the one that is there already has had its turn
    while len(drawn) < recipe.responses:
        places = turns[turn % len(turns)]
        if places:
            drawn.append(places.pop())
        turn += 1
    return example.only(sorted(drawn))


def share_out(
    examples: Sequence[Example], limit: int, size: Callable[[Example], int], processes: int
) -> list[list[Pass]]:
    """Passes of every process: prompts in turn, the longest together, at most `limit` tokens a pass by `size`."""
    shares = [fill(examples[rank::processes], limit, size) for rank in range(processes)]
    most = max(map(len, shares))
    idle = Pass((min(examples, key=size),), counts=False)
    return [share + [idle] * (most - len(share)) for share in shares]


def fill(examples: Sequence[Example], limit: int, size: Callable[[Example], int]) -> list[Pass]:
    """Passes of at most `limit` tokens; a prompt that has more is a pass by itself."""
    passes: list[Pass] = []
    current: list[Example] = []
    for example in sorted(examples, key=size, reverse=True):
        if current and sum(map(size, current)) + size(example) > limit:
            passes.append(Pass(tuple(current)))
            current = []
        current.append(example)
    return [*passes, Pass(tuple(current))] if current else passes


def _where(flags: Sequence[bool]) -> list[int]:
    return [place for place, flag in enumerate(flags) if flag]
