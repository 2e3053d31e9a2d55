"""Fill in the middle: one or a few lines cut out of a body, as editors ask for them.

Three places to cut: between lines; after the indent of an empty line, where a cursor waits; and inside a line, where
somebody is typing. A gap never ends inside a line: the trial model that saw such cuts learnt none of them.
"""

from dataclasses import dataclass
from random import Random
from typing import Literal

Place = Literal["lines", "cursor", "typing"]
LINES = {1: 0.6, 2: 0.3, 3: 0.1}
"""How many lines a gap swallows."""
PLACES: dict[Place, float] = {"lines": 0.3, "cursor": 0.4, "typing": 0.3}


@dataclass(frozen=True)
class Gap:
    """A body as `before + middle + after`."""

    before: str
    middle: str
    after: str


def cut(random: Random, body: str, *, lines: int | None = None, place: Place | None = None) -> Gap:
    """Cut a gap into a body of whole lines; `lines` and `place` are drawn where they are not given.

    Raises:
        ValueError: the body has fewer lines than asked for.
    """
    rows = body.splitlines(keepends=True)
    wanted = lines if lines is not None else min(random.choices(list(LINES), list(LINES.values()))[0], len(rows))
    if wanted > len(rows):
        raise ValueError(f"{wanted} lines of {len(rows)}")
    place = place or random.choices(list(PLACES), list(PLACES.values()))[0]
    start = random.randint(0, len(rows) - wanted)
    before, middle, after = (
        "".join(part) for part in (rows[:start], rows[start : start + wanted], rows[start + wanted :])
    )
    if place == "lines":
        return Gap(before, middle, after)
    indent = len(middle) - len(middle.lstrip(" "))
    first = middle.index("\n")
    column = indent if place == "cursor" else random.randint(indent, first - 1)
    return Gap(before + middle[:column], middle[column:].removesuffix("\n"), "\n" + after)
