"""How fast a client's going away frees the server: from its disconnect to engine idle and sandbox slots free.

    python -m bench.cancel [--trials 200]

A real `touchstone serve` with the bundled model and the host's own sandbox. Each trial hangs up at a random moment of a
request of 8 candidates whose programs run for seconds (half of them streams), then reads `/metrics` on another
connection again and again until nothing runs and nothing waits. The times include that reading, which is timed too.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import re
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from bench.process import serving

_FREE = re.compile(
    rb"^(touchstone_requests_running|touchstone_requests_waiting|touchstone_batch_size"
    rb"|touchstone_sandbox_waiting|touchstone_sandbox_slots\{state=\"busy\"\}) (\S+)",
    re.MULTILINE,
)
_NAMES = b"&".join(
    b"name[]=touchstone_" + name
    for name in (b"requests_running", b"requests_waiting", b"batch_size", b"sandbox_slots", b"sandbox_waiting")
)
_LATEST_S = 0.6
"""The last moment at which a client hangs up: by then candidates run as well as decode."""
_BODY = {
    "prompt": 'def wait(numbers):\n    """Return the numbers, sorted."""\n',
    "max_tokens": 400,
    "min_tokens": 200,
    "rerank": {
        "num_candidates": 8,
        "early_exit": "off",
        "tests": {"code": "import time\ntime.sleep(5)\nassert wait([1]) == [1]", "timeout_ms": 20_000},
    },
}


@dataclass(frozen=True, slots=True)
class Trial:
    """One request that was hung up on."""

    stream: bool
    was_running: bool
    """Decoding or running candidates at the moment of the disconnect."""
    engine_s: float
    sandbox_s: float

    @property
    def all_s(self) -> float:
        """Until both were free."""
        return max(self.engine_s, self.sandbox_s)


def main() -> None:
    """Run the trials and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        trials = asyncio.run(measure(Path(folder), args.trials, random.Random(args.seed)))
    print(f"\n{'ms from disconnect':24}{'trials':>8}{'p50':>8}{'p99':>8}{'worst':>8}")
    for name, found in (
        ("streams", [trial.all_s for trial in trials if trial.stream]),
        ("plain", [trial.all_s for trial in trials if not trial.stream]),
        ("all", [trial.all_s for trial in trials]),
        ("all, engine idle", [trial.engine_s for trial in trials]),
        ("all, sandbox free", [trial.sandbox_s for trial in trials]),
    ):
        p = statistics.quantiles(found, n=100, method="inclusive")
        print(f"{name:24}{len(found):8}{p[49] * 1e3:8.1f}{p[98] * 1e3:8.1f}{max(found) * 1e3:8.1f}")
    print(f"under way at the disconnect: {sum(trial.was_running for trial in trials)} of {len(trials)}")


async def measure(folder: Path, trials: int, rng: random.Random) -> list[Trial]:
    """Serve, and hang up on it again and again."""
    found = []
    with serving(folder) as served:
        host, _, port = served.url.removeprefix("http://").partition(":")
        probe = Probe(*await asyncio.open_connection(host, int(port)))
        await probe.free()
        began = time.perf_counter()
        for _ in range(20):
            await probe.free()
        print(f"one reading of /metrics: {(time.perf_counter() - began) / 20 * 1e3:.1f} ms")
        for number in range(trials):
            after_s = rng.uniform(0.02, _LATEST_S)
            found.append(await one(probe, host, int(port), stream=number % 2 == 0, after_s=after_s))
            if sys.stderr.isatty():
                sys.stderr.write(f"\r{number + 1} of {trials}")
    return found


class Probe:
    """A kept connection that asks what is busy."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def free(self) -> tuple[bool, bool]:
        """Whether the engine decodes nothing and nothing waits for it; the same of the sandbox."""
        self._writer.write(b"GET /metrics?" + _NAMES + b" HTTP/1.1\r\nHost: localhost\r\n\r\n")
        head = (await self._reader.readuntil(b"\r\n\r\n")).lower()
        length = int(head.partition(b"content-length:")[2].split(b"\r\n")[0])
        busy = {name: float(value) for name, value in _FREE.findall(await self._reader.readexactly(length))}
        sandbox = [value for name, value in busy.items() if b"sandbox" in name]
        engine = [value for name, value in busy.items() if b"sandbox" not in name]
        if not sandbox or len(engine) != 3:
            raise RuntimeError(f"/metrics does not say what is busy: {sorted(busy)}")
        return not any(engine), not any(sandbox)


async def one(probe: Probe, host: str, port: int, *, stream: bool, after_s: float) -> Trial:
    """Ask, hang up after a while, and wait until the server is free."""
    _, writer = await asyncio.open_connection(host, port)
    body = json.dumps(_BODY | {"stream": stream}).encode()
    head = f"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)
    await asyncio.sleep(after_s)
    was_running = not all(await probe.free())
    began = time.perf_counter()
    writer.transport.abort()
    engine_s: float | None = None
    sandbox_s: float | None = None
    while engine_s is None or sandbox_s is None:
        engine, sandbox = await probe.free()
        now_s = time.perf_counter() - began
        if now_s > 30:
            raise RuntimeError("the server was not free after 30 s")
        engine_s = engine_s or (now_s if engine else None)
        sandbox_s = sandbox_s or (now_s if sandbox else None)
    return Trial(stream, was_running, engine_s, sandbox_s)


if __name__ == "__main__":
    main()
