"""Measure what each way to serve a model costs, with the threads and the calls that will serve.

The cost is CPU time of this process, not wall time: on shared cores the wall time of a call says more about the
neighbours than about the type. What else disturbs it (caches, a busy sibling thread, a log being opened meanwhile) only
ever adds, so the least of several repeats counts, and the ways take turns. Not seen: one type gaining more than
another from several threads a call.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from engine.calibration.choice import Timing, Way
from engine.calibration.host import free_memory_bytes, total_memory_bytes
from engine.ct2.jobs import MAX_HYPOTHESES
from engine.ct2.model import SMALL_MODEL_BYTES, choose_threads, load_generator, vocabulary_of
from engine.errors import EngineError

ROWS = 16
TURNS = 7
CLEARLY_SLOWER = 1.5
"""A way that costs so many times the least after `TURNS_TO_JUDGE` turns is not measured further."""
TURNS_TO_JUDGE = 2
SMALL_BUDGET_S, LARGE_BUDGET_S = 1.0, 30.0
"""How long a first start may measure."""
MEMORY_SHARE = 0.5
"""The most of the free memory that weights may take: caches and the rest of the server need some too."""
_PROMPT_TOKENS = 16
_SMALL_TOKENS, _LARGE_TOKENS = 16, 4
"""Sampled a call."""


def measure(ways: Sequence[Way], *, cores: int, budget_s: float | None = None) -> tuple[Timing, ...]:
    """Timings of the ways, in their order; blocks for about `budget_s` seconds (None: by the size) at most.

    Where all of them together are small they are in memory at once and take turns, else one after another is, as where
    nothing tells how much is free. What is begun is finished, so a large model's first way may exceed the budget by
    itself; others that could not be loaded in what is left of it, or do not fit in memory, are left out and say so.
    """
    small = sum(way.memory_bytes for way in ways) <= SMALL_MODEL_BYTES
    trials = [_Trial(way, cores, _SMALL_TOKENS if small else _LARGE_TOKENS) for way in ways]
    together = small and free_memory_bytes() is not None
    groups = [trials] if together else [[trial] for trial in trials]
    if budget_s is None:
        budget_s = SMALL_BUDGET_S if small else LARGE_BUDGET_S
    end_s = time.monotonic() + budget_s
    for number, group in enumerate(groups):
        now_s = time.monotonic()
        load_s = max((trial.load_s_a_byte for trial in trials), default=0.0)
        try:
            for trial in group:
                trial.open(left_s=end_s - now_s, load_s_a_byte=load_s)
            _take_turns(group, trials, until_s=now_s + (end_s - now_s) / (len(groups) - number))
        finally:
            for trial in group:
                trial.close()
    return tuple(trial.timing for trial in trials)


def _take_turns(group: Sequence[_Trial], trials: Sequence[_Trial], until_s: float) -> None:
    """Turns of those in memory, until each has had enough, one is left of several, or the time is over."""
    running = [trial for trial in group if trial.is_open]
    for number in range(1, TURNS + 1):
        for trial in running:
            trial.turn()
        running = [trial for trial in running if trial.is_open]
        if number >= TURNS_TO_JUDGE:
            slow_us = CLEARLY_SLOWER * min(trial.many_us for trial in trials)
            running = [trial for trial in running if trial.many_us <= slow_us]
        if not running or (len(running) == 1 < len(group)) or time.monotonic() > until_s:
            return


class _Trial:
    """One way while it is measured."""

    def __init__(self, way: Way, cores: int, tokens: int) -> None:
        self._way = way
        self._threads = choose_threads(way.file_bytes, cores)  # as `Model.load` does
        self._tokens = tokens
        self._generator: Any = None
        self._prompt: list[str] = []
        self._dtype = way.dtype
        self._left_out, self._passing = "", False
        self._turns = 0
        self._one_us = self.many_us = math.inf
        self.load_s_a_byte = 0.0

    @property
    def is_open(self) -> bool:
        """Whether it is in memory."""
        return self._generator is not None

    @property
    def timing(self) -> Timing:
        """What was found."""
        way, known = self._way, self._turns > 0
        return Timing(
            way.conversion,
            way.compute,
            self._dtype,
            one_us=round(self._one_us, 2) if known else None,
            many_us=round(self.many_us, 2) if known else None,
            turns=self._turns,
            left_out="" if known else self._left_out,
            passing=self._passing and not known,
        )

    def open(self, *, left_s: float, load_s_a_byte: float) -> None:
        """Load it and sample once, unless it does not fit in memory or, by what others took to load, in the time."""
        needed, free = self._way.memory_bytes, free_memory_bytes()
        expected_s = load_s_a_byte * needed
        if free is not None and needed > MEMORY_SHARE * free:
            self._left_out = f"needs {_mib(needed)} of memory; {_mib(free)} are free, half of which it may take"
            total = total_memory_bytes()
            self._passing = total is None or needed <= MEMORY_SHARE * total
            return
        if load_s_a_byte and expected_s > left_s:
            self._left_out = f"loading takes about {expected_s:.0f} s; {max(0.0, left_s):.0f} s are left to measure in"
            return
        began_s = time.monotonic()
        try:
            folder, compute = self._way.folder, self._way.compute
            self._generator = load_generator(folder, dtype=compute, device="cpu", threads=self._threads)
            self.load_s_a_byte = (time.monotonic() - began_s) / max(1, needed)
            self._dtype = self._generator.compute_type
            vocabulary = vocabulary_of(folder)
            self._prompt = [vocabulary[k * len(vocabulary) // _PROMPT_TOKENS] for k in range(_PROMPT_TOKENS)]
            self._decode(1, tokens=1)
        except (EngineError, OSError, RuntimeError, ValueError, MemoryError) as error:
            self._fail(error)

    def turn(self) -> None:
        """Time one row, then `ROWS`."""
        try:
            one_us = self._cost_us((1,))
            many_us = self._cost_us((MAX_HYPOTHESES,) * (ROWS // MAX_HYPOTHESES))
        except (RuntimeError, MemoryError) as error:
            self._fail(error)
            return
        self._one_us, self.many_us = min(one_us, self._one_us), min(many_us, self.many_us)
        self._turns += 1

    def close(self) -> None:
        """Free its memory."""
        if self._generator is not None:
            self._generator.unload_model()
            self._generator = None

    def _cost_us(self, calls: Sequence[int]) -> float:
        """CPU microseconds a token of calls of so many rows, as many at once as the engine makes."""
        with ThreadPoolExecutor(self._threads.workers) as pool:
            began_s = time.process_time()
            list(pool.map(self._decode, calls))
            return 1e6 * (time.process_time() - began_s) / (sum(calls) * self._tokens)

    def _decode(self, rows: int, tokens: int | None = None) -> None:
        length = tokens or self._tokens
        self._generator.generate_batch(
            [self._prompt],
            include_prompt_in_result=False,
            num_hypotheses=rows,
            sampling_topk=0,
            min_length=length,
            max_length=length,
        )

    def _fail(self, error: Exception) -> None:
        self._left_out, self._passing = str(error) or type(error).__name__, isinstance(error, MemoryError)
        self._turns = 0
        self.many_us = math.inf
        self.close()


def _mib(size: int) -> str:
    return f"{size / 2**20:,.0f} MiB"
