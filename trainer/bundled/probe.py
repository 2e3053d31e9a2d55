"""What a checkpoint can do: held-out problems, other than those shipped, through `touchstone eval`.

In a process of its own: the sandbox's launcher must not be forked from a process full of torch's threads.
"""

import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from reranker.evaluation import GREEDY, ORACLE, RANDOM, read_report, write_problems
from trainer.bundled.problems import held_out

SEED = 101
MOST_TOKENS = 160


@dataclass(frozen=True)
class Scores:
    """Shares of the problems solved: by the greedy sample, by one, and by any of `n`."""

    greedy: float
    pass_at_1: float
    pass_at_n: float
    n: int


def probe(model: Path, *, problems: int, n: int) -> Scores | str:
    """Measure a model folder; where that is not possible, say why.

    Training goes on without it: a host may train well and yet grant the sandbox nothing.
    """
    with tempfile.TemporaryDirectory() as folder:
        suite, result, settings = (Path(folder) / name for name in ("suite.jsonl", "result.json", "touchstone.toml"))
        settings.touch()  # none of the settings of the folder somebody happens to train in
        write_problems(suite, held_out(problems, SEED))
        options = {
            "--suite": suite, "--model": model, "--dtype": "int8", "--n": n, "--k": f"1,{n}",
            "--max-tokens": MOST_TOKENS, "--json": result, "--state-dir": folder,
            "--config": settings,
        }  # fmt: skip
        arguments = [str(part) for option in options.items() for part in option]
        command = [sys.executable, "-m", "touchstone", "eval", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  (our own command)
        if done.returncode != 0:
            return (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
        measures = {(each.name, each.k): each.estimate.value for each in read_report(result).measures()}
    return Scores(measures[GREEDY, 1], measures[RANDOM, 1], measures[ORACLE, n], n)
