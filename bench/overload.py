"""What overload costs: goodput at ten times capacity, and typing beside a heavy batch.

    python -m bench.overload [--seconds 60] [--times 10] [--rounds 2]

A real `touchstone serve` with the bundled model and three keys; the clients are processes of their own. First capacity,
closed loop: the most requests a second that so many patient clients get answered. Then `times` as many are offered,
open loop: sent when their time has come, whatever became of those before. Goodput is what is answered 200 in that time.
Then one client types (gaps, one after another), alone and while the batch class is kept full of requests of 64
candidates, in turns: of each ratio both sides are measured in the same minute, as the machine may be shared.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import multiprocessing
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import psutil
import uvloop

from bench.process import Served, serving

PLAIN = [
    {"prompt": f'def pick_{word}_{k}(numbers):\n    """Keep those {word} {k}, sorted.\n\n    >>> {call}\n    """\n'}
    for k in (2, 3, 5, 7)
    for word, call in (
        ("above", f"pick_above_{k}([9, {k}, 8])\n    [8, 9]"),
        ("below", f"pick_below_{k}([9, {k}, 1])\n    [1]"),
    )
]
"""What a client sends that says nothing of reranking: `auto`, 8 candidates, judged by the prompt's example."""
BATCH = [body | {"rerank": {"num_candidates": 64, "early_exit": "off"}} for body in PLAIN]
UNJUDGED = [body | {"n": 64, "rerank": {"method": "off"}} for body in PLAIN]
TYPED = [
    {
        "prompt": f"def vowels(text):\n    count = 0\n    for {name} in text:\n        ",
        "suffix": "\n            count += 1\n    return count\n",
        "temperature": 0,
    }
    for name in ("c", "char", "letter", "x")
]
SKIPPED = 0.2
"""Of a measurement, its beginning."""
PAUSE_S = 0.05
"""Between two gaps of somebody who types."""
Bodies = Sequence[dict[str, Any]]


@dataclass
class Told:
    """What clients were answered."""

    seconds: float = 0.0
    from_s: float = 0.0
    """`time.perf_counter()` from which answers count: before it the work under way grows, and at the end it is lost."""
    statuses: Counter[int] = field(default_factory=Counter)
    unexplained: int = 0
    """Refusals that are no 429 with Retry-After."""
    tokens: int = 0
    good_s: list[float] = field(default_factory=list)
    """How long answers of 200 took."""
    refused_s: list[float] = field(default_factory=list)
    cpu_s: float = 0.0
    """Of the clients' own process, its start included; these CPU seconds the server could not have."""
    late_s: list[float] = field(default_factory=list)
    """How much later than planned requests were sent."""

    @property
    def good(self) -> float:
        """Answers of 200 a second."""
        return self.statuses[200] / self.seconds

    def note(self, status: int, head: bytes, body: bytes, took_s: float) -> None:
        """One answer, unless the beginning is not over."""
        if time.perf_counter() < self.from_s:
            return
        self.statuses[status] += 1
        if status == 200:
            self.good_s.append(took_s)
            self.tokens += int(json.loads(body)["usage"]["completion_tokens"])
            return
        self.refused_s.append(took_s)
        self.unexplained += status != 429 or b"\r\nretry-after: " not in head


class _Connection(asyncio.Protocol):
    """One kept connection, one request at a time."""

    def __init__(self) -> None:
        self._received = b""
        self._answer: asyncio.Future[tuple[bytes, bytes]] | None = None
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ready to ask."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's are none by their classes

    def data_received(self, data: bytes) -> None:
        """Some of an answer; all of it ends the wait."""
        self._received += data
        head, end, content = self._received.partition(b"\r\n\r\n")
        if end and self._answer is not None and not self._answer.done():
            length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
            if len(content) >= length:
                self._answer.set_result((head, content))

    def connection_lost(self, error: Exception | None) -> None:
        """No answer comes any more."""
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error or ConnectionError("the server hung up"))

    async def ask(self, request: bytes) -> tuple[bytes, bytes]:
        """Head and content of the answer."""
        assert self._transport is not None
        self._received, self._answer = b"", asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._answer


class Client:
    """Connections that are kept, as many as it takes; posts as one key.

    It shares the cores with the server, so requests are written once, and of refusals only the head is read.
    """

    def __init__(self, url: str, key: str, bodies: Bodies, fields: str = "") -> None:
        self._host, _, port = url.removeprefix("http://").partition(":")
        self._port = int(port)
        head = f"Host: {self._host}\r\nAuthorization: Bearer {key}\r\nContent-Type: application/json\r\n{fields}"
        self._requests = [_request(head, json.dumps(body).encode()) for body in bodies]
        self._idle: list[_Connection] = []

    async def post(self, number: int, told: Told, until_s: float = float("inf")) -> None:
        """Send the body whose turn it is, and note the answer if it comes before `until_s` (`time.perf_counter()`)."""
        began = time.perf_counter()
        if self._idle:
            connection = self._idle.pop()
        else:
            loop = asyncio.get_running_loop()
            _, connection = await loop.create_connection(_Connection, self._host, self._port)
        head, content = await connection.ask(self._requests[number % len(self._requests)])
        self._idle.append(connection)
        if time.perf_counter() <= until_s:
            told.note(int(head.split(b" ", 2)[1]), head.lower(), content, time.perf_counter() - began)


def _request(head: str, data: bytes) -> bytes:
    return f"POST /v1/completions HTTP/1.1\r\n{head}Content-Length: {len(data)}\r\n\r\n".encode() + data


async def closed(url: str, keys: Sequence[str], bodies: Bodies, clients: int, seconds: float, fields: str = "") -> Told:
    """So many clients ask, each again when it is answered."""
    began = time.perf_counter()
    told, until_s = Told(seconds * (1 - SKIPPED), began + seconds * SKIPPED), began + seconds

    async def one(number: int) -> None:
        client = Client(url, keys[number % len(keys)], bodies, fields)
        for turn in range(10**9):
            if time.perf_counter() >= until_s:
                return
            await client.post(number + turn, told, until_s)

    await asyncio.gather(*(one(number) for number in range(clients)))
    return told


async def opened(url: str, keys: Sequence[str], bodies: Bodies, rate: float, seconds: float) -> Told:
    """So many requests a second, whatever becomes of them; what is not answered in time is not counted."""
    began = time.perf_counter()
    told = Told(seconds * (1 - SKIPPED), began + seconds * SKIPPED)
    clients = [Client(url, key, bodies) for key in keys]
    asked = set()
    for number in range(int(rate * seconds)):
        due_s = began + number / rate
        if (wait_s := due_s - time.perf_counter()) > 0:
            await asyncio.sleep(wait_s)
        told.late_s.append(time.perf_counter() - due_s)
        asked.add(asyncio.create_task(clients[number % len(keys)].post(number, told, began + seconds)))
    await asyncio.sleep(began + seconds - time.perf_counter())
    for task in asked:
        task.cancel()
    for result in await asyncio.gather(*asked, return_exceptions=True):
        if isinstance(result, Exception):
            raise result
    return told


async def typing(url: str, keys: Sequence[str], seconds: float) -> Told:
    """Somebody fills gaps, one after another."""
    told, client, until_s = Told(seconds), Client(url, keys[0], TYPED), time.perf_counter() + seconds
    for turn in range(10**9):
        if time.perf_counter() >= until_s:
            break
        await client.post(turn, told)
        await asyncio.sleep(PAUSE_S)
    return told


def _child(results: Any, work: Callable[..., Any], args: tuple[Any, ...]) -> None:
    told = uvloop.run(work(*args))
    told.cpu_s = time.process_time()
    results.put(told)


class Apart:
    """Work of clients in a process of its own."""

    def __init__(self, work: Callable[..., Any], *args: Any) -> None:
        context = multiprocessing.get_context("spawn")
        self._results = context.Queue()
        self._process = context.Process(target=_child, args=(self._results, work, args))
        self._process.start()

    def result(self) -> Told:
        """What it was told. Raises `RuntimeError` where it failed, which it says on standard error."""
        while self._process.is_alive() and self._results.empty():
            self._process.join(0.2)
        if self._results.empty():
            raise RuntimeError("a client's process failed")
        told: Told = self._results.get()
        self._process.join()
        return told


def made_key(state_dir: Path, name: str) -> str:
    """A new key's secret."""
    command = [sys.executable, "-m", "touchstone", "keys", "create", name, "--state-dir", str(state_dir)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def cpu_s(served: Served) -> float:
    """CPU seconds of the server and all that it started."""
    root = psutil.Process(served.process.pid)
    used = float(sum(root.cpu_times()[:4]))
    for process in root.children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):  # a sandboxed one that has just ended
            used += sum(process.cpu_times()[:4])
    return used


def loop_s(served: Served) -> float:
    """CPU seconds of the server's event loop, which is its first thread."""
    threads = psutil.Process(served.process.pid).threads()
    return sum(float(each.user_time + each.system_time) for each in threads if each.id == served.process.pid)


def measured(served: Served, seconds: float, clients: Apart) -> tuple[Told, float, float]:
    """What clients are told, tokens of it for each CPU second of the server, and milliseconds of CPU that its event
    loop takes a second; the beginning left out of all.
    """
    time.sleep(seconds * SKIPPED)
    before_s, loop_before_s = cpu_s(served), loop_s(served)
    told = clients.result()
    return told, told.tokens / (cpu_s(served) - before_s), (loop_s(served) - loop_before_s) / told.seconds * 1e3


def capacity(served: Served, keys: Sequence[str], clients: int, seconds: float) -> tuple[Told, float]:
    """What so many patient clients are answered, and tokens a CPU second of the server; prints both."""
    told, each, loop_ms = measured(served, seconds, Apart(closed, served.url, keys, PLAIN, clients, seconds))
    row = f"{f'  {clients} clients':24}{told.good:8.2f}{each:14.0f}{_at(told.good_s, 50):8.2f}{loop_ms:11.0f}"
    print(row, flush=True)
    return told, each


def overload(served: Served, keys: Sequence[str], *, seconds: float, times: float) -> None:
    """Capacity, many times as much, and capacity again."""
    Apart(closed, served.url, keys, PLAIN, 8, 5.0).result()  # warm
    print(f"{'capacity, closed loop':24}{'200/s':>8}{'tokens/CPU s':>14}{'p50 s':>8}{'loop ms/s':>11}")
    found = {clients: capacity(served, keys, clients, max(10.0, seconds / 3)) for clients in (4, 8, 16)}
    best = max(found, key=lambda clients: found[clients][0].good)
    peak, peak_each = found[best]
    told, each, loop_ms = measured(served, seconds, Apart(opened, served.url, keys, PLAIN, times * peak.good, seconds))
    again, again_each = capacity(served, keys, best, max(10.0, seconds / 3))
    print(f"offered {times * peak.good:.0f}/s for {seconds:.0f} s: {dict(told.statuses)}")
    print(f"  goodput {told.good:.2f}/s: {told.good / peak.good:.2f} of before, {told.good / again.good:.2f} of after")
    print(f"  tokens/CPU s {each:.0f}: {each / peak_each:.2f} of before, {each / again_each:.2f} of after")
    print(f"  CPU of the event loop {loop_ms:.0f} ms/s")
    print(f"  CPU seconds of the clients in the overload {told.cpu_s:.1f}, in the capacity after it {again.cpu_s:.1f}")
    print(f"  refusals that are no 429 with Retry-After: {told.unexplained}")
    print(f"  refused after p50 {_at(told.refused_s, 50) * 1e3:.1f} ms, p99 {_at(told.refused_s, 99) * 1e3:.1f} ms")
    print(
        f"  answered after p50 {_at(told.good_s, 50):.1f} s; sent late p99 {_at(told.late_s, 99) * 1e3:.1f} ms",
        flush=True,
    )


def beside(url: str, keys: Sequence[str], *, seconds: float, rounds: int) -> None:
    """Typing alone and beside a batch, in turns."""
    typist, batcher = keys[:1], keys[1:2]
    print(f"{'typing, ms':32}{'p50':>8}{'p95':>8}{'ratio of p95':>14}")
    for name, bodies in (("64 judged", BATCH), ("64 unjudged", UNJUDGED)):
        ratios = []
        for _ in range(rounds):
            alone = Apart(typing, url, typist, seconds).result()
            batch = Apart(closed, url, batcher, bodies, 4, seconds + 6, "X-Priority: batch\r\n")
            time.sleep(3)
            loaded = Apart(typing, url, typist, seconds).result()
            done = batch.result()
            ratios.append(_at(loaded.good_s, 95) / _at(alone.good_s, 95))
            _row("alone", alone.good_s, "")
            _row(f"beside {name} ({done.tokens / done.seconds:.0f} tokens/s)", loaded.good_s, f"{ratios[-1]:14.2f}")
            if loaded.statuses.keys() | alone.statuses.keys() != {200}:
                raise RuntimeError(f"typing was refused: {loaded.statuses}, {alone.statuses}")
            time.sleep(3)
        print(f"{f'{name}: median ratio':32}{statistics.median(ratios):30.2f}")


def _row(name: str, found: Sequence[float], ratio: str) -> None:
    print(f"{name:32}{_at(found, 50) * 1e3:8.0f}{_at(found, 95) * 1e3:8.0f}{ratio}", flush=True)


def _at(values: Sequence[float], percent: int) -> float:
    """A percentile; NaN where there is nothing."""
    if len(values) < 2:
        return values[0] if values else float("nan")
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


def main() -> None:
    """Serve and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0, help="of overload; typing takes half of it a side")
    parser.add_argument("--times", type=float, default=10.0, help="the capacity")
    parser.add_argument("--rounds", type=int, default=2, help="of typing")
    parser.add_argument("--only", choices=("overload", "typing"))
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        keys = [made_key(Path(folder), name) for name in ("a", "b", "c")]
        with serving(Path(folder), "--dtype", "int8") as served:
            if args.only != "typing":
                overload(served, keys, seconds=args.seconds, times=args.times)
            if args.only != "overload":
                beside(served.url, keys, seconds=args.seconds / 2, rounds=args.rounds)


if __name__ == "__main__":
    main()
