"""Export and grouping of a long log: `python -m bench.log --exchanges 10000,100000,1000000`.

Makes a SQLite store of that many exchanges (the first 10,000 by the store's own writer, more as copies of them under
other names, made by SQLite, which is a hundred times faster; 4 candidates of 300 bytes with their outcomes,
a signal on one in ten, one prompt in twenty asked before), then runs `touchstone feedback export` and `touchstone train
groups` on it, each by itself. Nothing is run in the sandbox, as every outcome is there. CPU seconds are those of all
its processes, MB of the largest. Disk: some 11 KB an exchange, in --folder.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

BYTES, CANDIDATES, TESTS = 300, 4, 3
REPEATED, SAID = 20, 10
AT_ONCE = 1024
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
WORDS = ("list", "numbers", "text", "longest", "first", "sorted", "even", "sum", "words", "reverse", "index", "values")


WRITTEN = 10_000
"""By the store's own writer; from there on SQLite copies them."""
DIRECT = 10_000
"""Up to here groups are made of the database too, and must be the same."""
TOUCHSTONE = ("-m", "touchstone")


@dataclass(frozen=True, slots=True)
class Ran:
    """What one process took."""

    seconds: float
    cpu_s: float
    peak_bytes: int
    said: str

    def __str__(self) -> str:
        return f"{self.seconds:.1f} | {self.cpu_s:.1f} | {self.peak_bytes / 1e6:.0f}"


def main() -> None:
    """Print a table, one row a size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--exchanges", default="10000,100000", help="sizes of logs, in turn")
    parser.add_argument("--folder", type=Path, help="where to put them (default: a temporary folder)")
    parser.add_argument("--fill", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.folder is not None:
        args.folder.mkdir(parents=True, exist_ok=True)
    if args.fill is not None:
        asyncio.run(fill(args.folder / "touchstone.db", args.fill))
        return
    each = "s | CPU s | MB"
    print(f"exchanges | made s | database, export MB | export {each} | groups | made {each} | of the database {each}")
    for number in map(int, args.exchanges.split(",")):
        with tempfile.TemporaryDirectory(dir=args.folder) as folder:
            measure(Path(folder), number)


def measure(folder: Path, number: int) -> None:
    """Print one row, piece by piece."""
    database, export = folder / "touchstone.db", folder / "log.jsonl.gz"
    made = ran("-m", "bench.log", "--fill", str(number), "--folder", str(folder))
    print(f"{number:,} | {made.seconds:.0f}", end=" | ", flush=True)
    exported = ran(*TOUCHSTONE, "feedback", "export", "--out", str(export), "--state-dir", str(folder))
    print(f"{database.stat().st_size / 1e6:.0f}, {export.stat().st_size / 1e6:.0f} | {exported}", end=" | ", flush=True)
    options = (*TOUCHSTONE, "train", "groups", "--max-per-key", "0")
    grouped = ran(*options, "--out", str(folder / "a.jsonl.gz"), "--log", str(export))
    said = json.loads(grouped.said)
    print(f"{said['groups']:,} | {grouped}", end=" | ", flush=True)
    if number > DIRECT:
        print("-")
        return
    direct = ran(*options, "--out", str(folder / "b.jsonl.gz"), "--state-dir", str(folder))
    if said["hash"] != json.loads(direct.said)["hash"]:
        raise RuntimeError("the export and the database make different groups")
    print(direct, flush=True)


def ran(*command: str) -> Ran:
    """Run Python with these arguments. Raises `RuntimeError` with its output where it fails."""
    with tempfile.TemporaryFile("w+") as out:
        began = time.perf_counter()
        process = subprocess.Popen([sys.executable, *command], stdout=out, stderr=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        said = out.read()
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}:\n{said}")
    return Ran(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024, said)


async def fill(file: Path, number: int) -> None:
    """Write so many exchanges, in the time they would have come in."""
    from feedback import Signal, SqlStore

    store = SqlStore.open(file)
    chance = random.Random(number)
    written = min(number, WRITTEN)
    for start in range(0, written, AT_ONCE):
        batch = [exchange(start + place, chance) for place in range(min(AT_ONCE, written - start))]
        await asyncio.gather(*map(store.record, batch))
        said = [
            Signal(
                id=f"sig-{each.id}",
                exchange_id=each.id,
                created_at=each.created_at,
                choice=0,
                type=chance.choice(("accept", "reject")),
            )
            for each in batch
            if chance.randrange(SAID) == 0
        ]
        await store.signals(said)
    await store.aclose()
    copy(file, number // WRITTEN)


def copy(file: Path, times: int) -> None:
    """Copy all exchanges until there are so many times as many, under other names and hashes."""
    changed = {
        "id": "id || '-{n}'",
        "exchange_id": "exchange_id || '-{n}'",
        "prompt": "replace(prompt, 'def f', 'def f{n}_')",
        "prompt_hash": "'b2:' || printf('%04x', {n}) || substr(prompt_hash, 8)",
        "text": "replace(text, ' v', ' v{n}_')",
        "raw_text": "replace(raw_text, ' v', ' v{n}_')",
    }
    with closing(sqlite3.connect(file)) as database:
        database.execute("PRAGMA synchronous = OFF")
        for table, name in (("exchanges", "id"), ("candidates", "exchange_id"), ("signals", "exchange_id")):
            columns = [row[1] for row in database.execute(f"PRAGMA table_info({table})")]
            for n in range(1, times):
                made = ", ".join(changed.get(column, column).format(n=n) for column in columns)
                with database:
                    database.execute(f"INSERT INTO {table} SELECT {made} FROM {table} WHERE {name} NOT LIKE '%-%-%'")


def exchange(number: int, chance: random.Random) -> Any:
    """One exchange as the server logs it: a function to complete, three calls to judge it."""
    from feedback import Exchange, prompt_hash, suite_to_data
    from sandbox import Call, CallSuite

    asked = chance.randrange(number) if number and chance.randrange(REPEATED) == 0 else number
    words = random.Random(asked)
    doc = f'"""Give the {" ".join(words.choices(WORDS, k=16))} of xs.\n\n    >>> f{asked}([1, 2])\n    {asked}\n    """'
    text = f"def f{asked}(xs):\n    {doc}\n"
    prompt = {"kind": "text", "text": text}
    suite = CallSuite(tuple(Call(function=f"f{asked}", args=([place],), expected=asked) for place in range(TESTS)))
    passes = [chance.randrange(TESTS + 1) for _ in range(CANDIDATES)]
    order = sorted(range(CANDIDATES), key=lambda place: -passes[place])
    candidates = tuple(sampled(place, passes[place], order.index(place), chance) for place in range(CANDIDATES))
    return Exchange(
        id=f"cmpl-{number:012}",
        created_at=BEGIN + timedelta(seconds=number),
        route="/v1/completions",
        purpose="traffic",
        key_id=None,
        session_id=None,
        model="touchstone:3.8m-int8.r0",
        round=0,
        engine="ctranslate2",
        dtype="int8",
        config_hash="b2:" + "0" * 32,
        prompt=prompt,
        prompt_hash=prompt_hash(prompt),
        task={"shape": "completion", "prefix": None, "suffix": "", "entry_point": None},
        options={"method": "auto", "n": 1, "num_candidates": CANDIDATES, "dedupe": "ast", "examples": "auto"},
        suite=suite_to_data(suite),
        method="examples",
        status="complete",
        reason="",
        prompt_tokens=80,
        sampled_tokens=360,
        returned_tokens=90,
        timings_s={"queue": 0.0, "prefill": 0.01, "generate": 0.2, "rerank": 0.01, "total": 0.3, "first_token": 0.02},
        candidates=candidates,
    )


def sampled(place: int, passed: int, rank: int, chance: random.Random) -> Any:
    """One judged candidate; the best is shown."""
    from feedback import StoredCandidate, TestCounts

    body = program(chance)
    return StoredCandidate(
        index=place,
        rank=rank,
        choice=None if rank else 0,
        text=body,
        raw_text=body + "\n\n\ndef",
        finish_reason="stop",
        greedy=place == 0,
        token_count=90,
        mean_logprob=-chance.random(),
        sum_logprob=-90 * chance.random(),
        duplicate_of=None,
        scores={"examples": passed / TESTS, "likelihood": -0.3},
        program_class="pass" if passed == TESTS else "partial",
        run_status="passed" if passed == TESTS else "wrong_answer",
        tests=TestCounts(passed=passed, failed=TESTS - passed, errored=0, not_run=0),
        outcome=outcome(passed),
        generate_s=0.2,
        execute_s=0.003,
    )


def program(chance: random.Random) -> str:
    """A body of a function, of `BYTES` bytes, unlike any other."""
    name = f"v{chance.randrange(10**9)}"
    lines = [f"    {name} = {chance.randrange(10**6)}", "    for x in xs:"]
    end = f"    return {name}"
    while len("\n".join([*lines, end])) < BYTES - 40:
        lines.append(f"        {name} += x * {chance.randrange(10**6)}")
    text = "\n".join(lines)
    return f"{text}  # {'x' * (BYTES - len(text) - len(end) - 5)}\n{end}"


def outcome(passed: int) -> dict[str, Any]:
    """What the sandbox said of a candidate, as it is logged."""
    tests = [
        {
            "index": place,
            "status": "passed" if place < passed else "wrong_answer",
            "name": f"call {place}",
            "cpu_s": 0.0001,
            "wall_s": 0.0001,
            "value": str(place),
            "value_type": "int",
            "value_hash": None,
            "exception_type": None,
            "exception_message": None,
            "stdout_tail": "",
        }
        for place in range(TESTS)
    ]
    status = "passed" if passed == TESTS else "wrong_answer"
    whole = {"cpu_s": 0.001, "wall_s": 0.003, "peak_memory_bytes": 16_000_000, "form": "calls", "tier": "A"}
    return {"status": status, "tests": tests, **whole, "integrity": "strong", "message": ""}


if __name__ == "__main__":
    main()
