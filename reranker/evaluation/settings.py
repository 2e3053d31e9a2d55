"""What an evaluation is asked to do, and what it measured: the parts of a run that decide its numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from reranker.evaluation.errors import InvalidSetting
from sandbox import Limits

DEFAULT_N = 16
LONGEST_TEST_CPU_S = 3600


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How each problem is sampled and what is measured. None: not said here (samples that were given).

    Raises `InvalidSetting`, naming the field.
    """

    n: int = DEFAULT_N
    """Samples a problem, the greedy one not counted."""
    ks: tuple[int, ...] = (1, 4, 16)
    """Sizes that pass@k and best-of-k are measured at, ascending."""
    greedy: bool = True
    """Sample one more at temperature 0; it takes no part in any choice."""
    temperature: float | None = 0.8
    top_p: float | None = 0.95
    max_tokens: int | None = None
    """None: 256, or 128 to fill a gap (a server: its own default); fewer where the context leaves less room."""
    seed: int | None = None
    method: str | None = None
    """What a server is asked to choose by."""
    test_cpu_s: float = 10.0
    """CPU seconds that one hidden test may take. Four times as long by the clock, so that a busy host fails nobody."""

    def __post_init__(self) -> None:
        if self.n < 1:
            raise InvalidSetting("n", f"must be at least 1, not {self.n}")
        if not self.ks or list(self.ks) != sorted(set(self.ks)) or self.ks[0] < 1:
            raise InvalidSetting("k", "must be different numbers of at least 1, ascending")
        if self.ks[-1] > self.n:
            raise InvalidSetting("k", f"{self.ks[-1]} is more than the {self.n} samples of a problem")
        if self.temperature is not None and not 0 < self.temperature <= 2:
            raise InvalidSetting("temperature", "must be over 0 and at most 2; 0 is what greedy measures")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise InvalidSetting("top_p", "must be over 0 and at most 1")
        if self.max_tokens is not None and self.max_tokens < 1:
            raise InvalidSetting("max_tokens", "must be at least 1")
        if not 0 < self.test_cpu_s <= LONGEST_TEST_CPU_S:
            raise InvalidSetting("test_cpu_s", f"must be over 0 and at most {LONGEST_TEST_CPU_S}")

    @property
    def limits(self) -> Limits:
        """What a candidate may use while it is judged; the first test that fails decides."""
        each = self.test_cpu_s
        return Limits(cpu_s=2 * each, wall_s=8 * each, test_cpu_s=each, test_wall_s=4 * each, stop_on_failure=True)

    def tokens_for(self, *, gap: bool) -> int:
        """The most tokens a sample may have; `gap`: it fills one in the middle."""
        return self.max_tokens or (128 if gap else 256)

    def identity(self) -> Mapping[str, Any]:
        """What two parts of one run must share: everything but the sizes reported."""
        return {name: value for name, value in asdict(self).items() if name != "ks"}


def default_ks(n: int) -> tuple[int, ...]:
    """1, 4, 16, 64, ... below n, and n."""
    powers = [4**exponent for exponent in range(n.bit_length()) if 4**exponent < n]
    return (*powers, n)


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceInfo:
    """Where the samples came from."""

    kind: str
    """`engine` (in this process), `server` or `samples` (given)."""
    engine: str = ""
    model: str = ""
    dtype: str = ""
    """The type really used in computation."""
    weights: str = ""
    """The model folder's id and a hash of its weights: a name in the API is shared by every checkpoint."""
    place: str = ""
    """The server's address, or the file of samples and its hash."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SuiteInfo:
    """Which problems were asked for; `content_hash` and `problems` are those of the whole suite."""

    name: str
    source: str
    content_hash: str
    problems: int
