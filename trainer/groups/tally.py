"""What became of everything that was read: nothing is left out without being counted."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from trainer.groups.types import Group, Source, Split

UNJUDGED = "words only"
"""Stands for the class of a response that only users judged."""


@dataclass(frozen=True, slots=True)
class Taken:
    """What is counted of a group."""

    split: Split
    kinds: list[tuple[str, Source]]
    """Class and source of each response."""


def taken(group: Group) -> Taken:
    """What is counted of this one."""
    return Taken(group.split, [(each.program_class or UNJUDGED, each.source) for each in group.responses])


@dataclass(slots=True)
class Tally:
    """Counts, each by what is counted; of what was left out, by why."""

    read: int = 0
    """Exchanges."""
    left_out: Counter[str] = field(default_factory=Counter)
    """Exchanges."""
    responses: Counter[str] = field(default_factory=Counter)
    """Responses left out or changed, and signals not used."""
    prompts: Counter[str] = field(default_factory=Counter)
    """Prompts left out."""
    contaminated: Counter[str] = field(default_factory=Counter)
    """Prompts left out that hold a problem of a suite, by the suite's name."""
    groups: int = 0
    splits: Counter[str] = field(default_factory=Counter)
    """Groups."""
    keys: Counter[str] = field(default_factory=Counter)
    """Groups a key has a part in."""
    classes: Counter[str] = field(default_factory=Counter)
    """Responses."""
    sources: Counter[str] = field(default_factory=Counter)
    """Responses."""
    ran: int = 0
    """Programs run here."""

    def took(self, group: Taken) -> None:
        """Count a group that was made."""
        self.groups += 1
        self.splits[group.split] += 1
        for program_class, source in group.kinds:
            self.classes[program_class] += 1
            self.sources[source] += 1

    def to_data(self) -> dict[str, Any]:
        """Plain JSON data, without counts of nothing."""
        data = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {
            name: {key: count for key, count in sorted(value.items()) if count} if isinstance(value, Counter) else value
            for name, value in data.items()
        }
