"""What a table holds, and its JSON. Every number that was not measured is None, and says why beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from reranker.evaluation import Estimate, Host

SCHEMA_VERSION = 1
KIND = "touchstone table"


@dataclass(frozen=True, slots=True)
class Memory:
    """Of the row's process and all that it started, in bytes; the GPUs' growth since before it started."""

    loaded_pss_bytes: int
    loaded_rss_bytes: int
    used_pss_bytes: int
    """The most while 16 candidates are decoded."""
    used_rss_bytes: int
    gpu_bytes: int | None
    """None where NVML does not answer."""


@dataclass(frozen=True, slots=True)
class Speed:
    """Of requests of `n` candidates, all to full length, the prompt's computation included."""

    n: int
    ms_per_token: float
    """Median of the rounds."""
    times_fastest: float
    """Times the fastest row's: median of the rounds' ratios where the rows took turns."""
    rounds: tuple[float, ...]

    @property
    def tokens_per_s(self) -> float:
        """Of all candidates together."""
        return 1000 / self.ms_per_token


@dataclass(frozen=True, slots=True)
class Quality:
    """Of the suite's first `problems` problems: shares solved, with 95 % intervals over problems."""

    problems: int
    greedy: Estimate
    sampled: Estimate
    """pass@1 at temperature 0.8, of `n` samples a problem."""
    n: int
    over_reference: Mapping[str, Estimate]
    """`greedy` and `sampled` minus the reference row's, paired by problem; empty for that row itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One row, as far as it came."""

    engine: str
    dtype: str
    """Asked for."""
    effective: str | None = None
    """The type computed in."""
    loaded: str | None = None
    """What the engine says it loaded."""
    versions: Mapping[str, str]
    weights_bytes: int | None = None
    """On disk."""
    load_s: float | None = None
    """From a started interpreter to a model that can be asked."""
    memory: Memory | None = None
    speeds: tuple[Speed, ...] = ()
    quality: Quality | None = None
    failed: str | None = None
    """Why it, or the rest of it, could not be measured."""

    @property
    def name(self) -> str:
        """As the table calls it."""
        return f"{self.engine} {self.dtype}"

    def speed(self, n: int) -> Speed | None:
        """At `n` candidates; None where it was not taken."""
        return next((speed for speed in self.speeds if speed.n == n), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """All rows of one run on one host."""

    schema_version: int = SCHEMA_VERSION
    created_at: str
    """ISO 8601, UTC."""
    model: str
    host: Host
    memory_bytes: int
    """Of the host."""
    gpus: tuple[str, ...]
    suite: str
    """Its name and hash; empty where nothing was judged."""
    reference: str | None
    """The row that the others' quality is held against."""
    in_turns: bool
    """Whether the rows were in memory together and took turns at being timed."""
    settings: Mapping[str, Any]
    notes: tuple[str, ...]
    """What was not measured, and why."""
    lines: tuple[Line, ...]


def table_data(table: Table) -> dict[str, Any]:
    """A table in JSON's own types."""
    data = {"kind": KIND, **asdict(table)}
    for line, told in zip(table.lines, data["lines"], strict=True):
        told["speeds"] = [{**asdict(speed), "tokens_per_s": speed.tokens_per_s} for speed in line.speeds]
    return data
