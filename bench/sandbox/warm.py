"""The bare fork: a warm interpreter that forks a child a job, without any confinement. Run as a script, not imported.

One JSON object a line on standard input, one line a job on standard output: how many answers were right. The child
compiles, runs, answers each call with a write of its own, and ends; the parent compares and reaps.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import sys
from typing import Any

# What the sandbox's own warm interpreter has loaded before it forks.
PRELOADED = (
    "abc array ast base64 bisect bz2 calendar cmath collections collections.abc contextlib copy csv dataclasses "
    "datetime decimal enum fractions functools hashlib heapq inspect io itertools json locale lzma math numbers "
    "operator queue random re statistics string struct textwrap threading time traceback types typing unittest zlib"
)


def main() -> None:
    """Serve jobs until the input ends."""
    for name in PRELOADED.split():
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    gc.collect()
    gc.disable()
    gc.freeze()
    print("ready", flush=True)
    for line in sys.stdin:
        print(run(json.loads(line)), flush=True)


def run(job: dict[str, Any]) -> int:
    """Fork for one job; the number of right answers."""
    ours, theirs = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.close(ours)
            answer(job, theirs)
        finally:
            os._exit(0)
    os.close(theirs)
    with open(ours, "rb") as pipe:
        answers = [json.loads(line) for line in pipe]
    os.waitpid(pid, 0)
    return sum(got == expected for got, expected in zip(answers, job["expected"], strict=True))


def answer(job: dict[str, Any], fd: int) -> None:
    """In the child: load the program and answer its calls."""
    namespace: dict[str, Any] = {}
    exec(compile(job["source"], "<candidate>", "exec", dont_inherit=True), namespace)
    for args in job["calls"]:
        os.write(fd, json.dumps(namespace[job["function"]](*args)).encode() + b"\n")


if __name__ == "__main__":
    main()
