"""Which modules a program is likely to import, so that it starts where they are loaded already."""

from __future__ import annotations

import re
from typing import Literal

Profile = Literal["bare", "numpy", "pandas"]

_IMPORT = re.compile(r"(?:^|[;:])[ \t]*(?:from[ \t]+(\w+)|import[ \t]+([\w., \t]+))", re.MULTILINE)
_RICHER = {"numpy": 1, "pandas": 2, "scipy": 2, "sklearn": 2}
_PROFILES: tuple[Profile, ...] = ("bare", "numpy", "pandas")


def profile_of(source: str) -> Profile:
    """The poorest profile that has loaded what the source's import statements name.

    A scan of its lines, in time linear in their length: an import it misses only costs the time of that import, and one
    it sees in a docstring the time of a larger fork.
    """
    richest = 0
    for match in _IMPORT.finditer(source):
        origin, listed = match.groups()
        for part in (origin,) if origin else listed.split(","):
            name = part.split()[0].partition(".")[0] if part.strip() else ""
            richest = max(richest, _RICHER.get(name, 0))
    return _PROFILES[richest]
