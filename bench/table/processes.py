"""The processes of a table's rows, seen from their parent: asked, timed in turns, weighed."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

import psutil

from bench.errors import RowFailed
from bench.process import go_on, in_turn, stop
from bench.progress import Progress
from bench.table.result import Memory
from bench.table.rows import Row, Subject

_PACKAGES = ("bench", "engine", "reranker", "sandbox")
_LOOK_EVERY_S = 0.02
"""At the memory of a process that works."""
_END_S = 60.0
"""How long a process may take to end by itself."""


@dataclass(frozen=True, slots=True)
class Workers:
    """How processes are started: what all of them share."""

    subject: Subject
    work: Path
    """A folder of their own."""
    pythons: Mapping[str, str] = field(default_factory=dict)
    """Interpreter by engine, where an engine lives in another environment."""
    device: str = "auto"
    threads: int | None = None
    """None: what each engine chooses, every core."""

    def load(self, row: Row) -> dict[str, Any]:
        """What a process is told to load for this row."""
        folder, state = str(self.subject.loads(row)), str(self.work / "state")
        placed = {"device": self.device, "threads": self.threads, "state": state}
        return {"engine": row.engine, "folder": folder, "dtype": row.dtype, **placed}

    @contextmanager
    def started(self, row: Row, **asked: Any) -> Iterator[Worker]:
        """A process for the length of a `with` block. Its standard error is kept, for the reason why it ended."""
        python = self.pythons.get(row.engine, sys.executable)
        command = [python, "-P", "-m", "bench.table.worker", json.dumps(asked)]
        path = os.pathsep.join(filter(None, (str(self._packages()), os.environ.get("PYTHONPATH", ""))))
        environment = os.environ | {"PYTHONPATH": path if python == sys.executable else str(self._packages())}
        log = self.work / f"{row.engine}-{row.dtype}.log"
        with log.open("w+b") as errors:
            try:
                process = subprocess.Popen(
                    command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment
                )
            except OSError as error:
                raise RowFailed(f"python: {python} cannot be run: {error.strerror}") from error
            try:
                yield Worker(process, log)
            finally:
                go_on(process.pid)
                assert process.stdin is not None
                assert process.stdout is not None
                with suppress(BrokenPipeError):  # a question that a dead process did not take
                    process.stdin.close()  # which ends it
                try:
                    process.wait(_END_S)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
                process.stdout.close()

    def _packages(self) -> Path:
        """A folder with ours and nothing else, so that another environment's libraries stay its own."""
        folder = self.work / "packages"
        if not folder.exists():
            folder.mkdir()
            for name in _PACKAGES:
                inside = import_module(name).__file__
                assert inside is not None
                (folder / name).symlink_to(Path(inside).parent)
        return folder

    @contextmanager
    def holding(self, row: Row) -> Iterator[tuple[Worker, dict[str, Any]]]:
        """A process with this row's engine loaded, and what it said of it. Raises `RowFailed`."""
        with self.started(row, mode="hold", **self.load(row)) as worker:
            yield worker, worker.answer()


@dataclass(frozen=True, slots=True)
class Worker:
    """One process."""

    process: subprocess.Popen[str]
    log: Path

    def answer(self) -> dict[str, Any]:
        """Its next line. Raises `RowFailed` with what it refused, or with its last words."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RowFailed(f"its process ended with status {self.process.wait(60)}: {self._last_words()}")
        answer: dict[str, Any] = json.loads(line)
        if "refused" in answer:
            raise RowFailed(answer["refused"])
        return answer

    def ms_per_token(self, prompt: str, n: int, tokens: int) -> float:
        """Time one request there. Raises `RowFailed`."""
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):  # it has ended; what it said last is told below
            self.process.stdin.write(json.dumps({"prompt": prompt, "n": n, "tokens": tokens}) + "\n")
            self.process.stdin.flush()
        return float(self.answer()["ms_per_token"])

    def memory(self) -> tuple[int, int]:
        """PSS and RSS in bytes, of the process and of all that it started."""
        pss = rss = 0
        root = psutil.Process(self.process.pid)
        for each in (root, *root.children(recursive=True)):
            try:
                full = each.memory_full_info()
            except psutil.Error:
                continue  # it ended meanwhile
            pss, rss = pss + full.pss, rss + full.rss
        return pss, rss

    def _last_words(self) -> str:
        lines = [line for line in self.log.read_text("utf-8", "replace").splitlines() if line.strip()]
        return lines[-1].strip() if lines else "it said nothing"


class Gpus:
    """What NVML tells of this host's GPUs, where it answers (package `nvidia-ml-py`)."""

    def __init__(self) -> None:
        self.why_not = ""
        """Why there is nothing to tell; empty where there is."""
        try:
            self._nvml: Any = importlib.import_module("pynvml")
            self._nvml.nvmlInit()
            self._handles = [self._nvml.nvmlDeviceGetHandleByIndex(i) for i in range(self._nvml.nvmlDeviceGetCount())]
        except ImportError:
            self._handles, self.why_not = [], "nvidia-ml-py is not installed"
        except Exception as error:  # noqa: BLE001 - whatever a missing driver raises, there is no GPU to weigh
            self._handles, self.why_not = [], f"no GPU answers: {error}"

    def names(self) -> tuple[str, ...]:
        """Each GPU's."""
        return tuple(str(self._nvml.nvmlDeviceGetName(handle)) for handle in self._handles)

    def used_bytes(self) -> int | None:
        """Of all GPUs together, whoever uses it; None where nothing tells."""
        return self._sum("used")

    def free_bytes(self) -> int | None:
        """Of all GPUs together; None where nothing tells."""
        return self._sum("free")

    def _sum(self, kind: str) -> int | None:
        infos = [self._nvml.nvmlDeviceGetMemoryInfo(handle) for handle in self._handles]
        return sum(int(getattr(info, kind)) for info in infos) if infos else None


def weighed(worker: Worker, gpus: Gpus, before: int | None, work: Callable[[], object]) -> Memory:
    """Memory as it is now, after loading, and the most there is while `work` runs.

    `before`: what the GPUs held before the process began. Their figure is by how much that grew, so whatever else
    uses them should hold still.
    """
    loaded_pss, loaded_rss = worker.memory()
    most = [loaded_pss, loaded_rss, gpus.used_bytes() or 0]
    over = threading.Event()

    def look() -> None:
        while not over.wait(_LOOK_EVERY_S):
            now = (*worker.memory(), gpus.used_bytes() or 0)
            most[:] = [max(pair) for pair in zip(most, now, strict=True)]

    looking = threading.Thread(target=look, daemon=True)
    looking.start()
    try:
        work()
    finally:
        over.set()
        looking.join()
    gpu = None if before is None else max(0, most[2] - before)
    return Memory(loaded_pss, loaded_rss, most[0], most[1], gpu)


def take_turns(
    workers: Workers,
    rows: Sequence[Row],
    progress: Progress,
    *,
    prompts: Sequence[str],
    rounds: int,
    tokens: int,
    ns: Sequence[int],
) -> tuple[dict[tuple[Row, int], list[float]], dict[Row, str]]:
    """Milliseconds a token by row and n, one value a round; every row's turn comes once a round, in changing order.
    Who is not in turn stands still.

    And the rows that broke, with the reason: the others go on without them.
    """
    broken: dict[Row, str] = {}
    with ExitStack() as stack:
        held: dict[Row, Worker] = {}
        for row in rows:  # a first request fills caches, and touches the pages of weights that nothing has touched yet
            progress.say("speed: loading", row.name)
            try:
                held[row], _ = stack.enter_context(workers.holding(row))
                held[row].ms_per_token(prompts[0], max(ns), tokens)
                stop(held[row].process.pid)
            except RowFailed as error:
                broken[row] = str(error)
        found: dict[tuple[Row, int], list[float]] = {(row, n): [] for row in held for n in ns}
        for number in range(rounds):
            alive = [row for row in held if row not in broken]
            first = number % max(1, len(alive))
            for row in (*alive[first:], *alive[:first]):
                progress.say("speed:", f"round {number + 1} of {rounds}, {row.name}")
                try:
                    with in_turn([held[row].process.pid]):
                        for n in ns:
                            cost_ms = held[row].ms_per_token(prompts[number % len(prompts)], n, tokens)
                            found[row, n].append(cost_ms)
                except RowFailed as error:
                    broken[row] = str(error)
    return {key: costs for key, costs in found.items() if key[0] not in broken}, broken
