"""Milliseconds a step of N samples of one prompt: our engines cpu, ctranslate2 and transformers, llama.cpp, vLLM.

    python -m bench.samplers --folder made --file figures.jsonl --llama-python ENV/bin/python --vllm-python ...
    python -m bench.samplers --folder made --file try.jsonl --rounds 1 --prompts 128 --n 1,16     our own engines alone

A Llama of 214M random weights is made in `--folder` where it is not there yet: nothing here says anything about text.
Each sampler is a process that keeps its model and waits; in a round each in turn does every shape once, so that other
work on the host falls on all of them; figures are medians of the rounds, and ratios medians of the rounds' ratios. A
step is the time from the first token to the last over the tokens between, so prompts do not count. Ours include
sampling (temperature 0.8, top-k 50, top-p 0.95) and the way through the engine; llama.cpp computes logits and samples
nothing. A process that fails is left out, and its error printed. On a busy host `--cpu --threads 1` counts CPU time.

Every figure is a line of `--file`: the same command goes on where the last one ended, `--stop-after` so many seconds at
the latest between two shapes, so that a quiet quarter of an hour can be had in pieces; `--rounds 0` prints the table.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import psutil
import typer
from rich.console import Console

from bench.samplers.model import made_model

Shape = tuple[int, int, int]
"""Prompt tokens, N and tokens sampled a candidate."""
_HERE = Path(__file__).parent


class Sampler:
    """A process that samples when asked."""

    def __init__(self, command: Sequence[str], threads: int) -> None:
        environment = os.environ | {"OMP_NUM_THREADS": str(threads), "VLLM_CPU_KVCACHE_SPACE": "2"}
        self._command = list(command)
        self._process = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            env=environment,
        )  # fmt: skip
        self._read()

    def measure(self, shape: Shape, *, of_cpu: bool) -> tuple[float, float]:
        """Milliseconds a step, and seconds for the prompt; of CPU time, from a request less one for a single token."""
        prompt, n, tokens = shape
        if of_cpu:
            before_s, first_s, whole_s = [self._cpu_s(), *(self._after(prompt, n, count) for count in (1, tokens))]
            return 1e3 * (whole_s - 2 * first_s + before_s) / (tokens - 1), first_s - before_s
        told = self._ask(prompt, n, tokens)
        return 1e3 * told["decode_s"] / (tokens - 1), told["prefill_s"]

    def _after(self, prompt: int, n: int, tokens: int) -> float:
        self._ask(prompt, n, tokens)
        return self._cpu_s()

    def _cpu_s(self) -> float:
        root = psutil.Process(self._process.pid)
        times = [process.cpu_times() for process in (root, *root.children(recursive=True))]
        return float(sum(each.user + each.system for each in times))

    def _ask(self, prompt: int, n: int, tokens: int) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"prompt": prompt, "n": n, "tokens": tokens}) + "\n")
        self._process.stdin.flush()
        return self._read()

    @property
    def memory_mib(self) -> float:
        """Resident memory of the process and its children."""
        root = psutil.Process(self._process.pid)
        return float(sum(process.memory_info().rss for process in (root, *root.children(recursive=True)))) / 2**20

    def close(self) -> None:
        """Let it end."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=60)

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("{"):
                answer: dict[str, Any] = json.loads(line)
                return answer
        raise RuntimeError(f"{self._command[0]} ended with {self._process.wait()}")


def commands(hf: Path, threads: int, llama_python: str | None, vllm_python: str | None) -> dict[str, list[str]]:
    """How each sampler is started."""

    def ours(engine: str, folder: Path, dtype: str, **options: Any) -> list[str]:
        told = json.dumps({"folder": str(folder), "dtype": dtype, "model_name": "made"} | options)
        return [sys.executable, "-m", "bench.samplers.ours", engine, told]

    found = {f"cpu {dtype}": ours("cpu", hf, dtype, threads=threads) for dtype in ("float32", "bfloat16", "int8")}
    for dtype in ("float32", "int8"):
        found[f"ctranslate2 {dtype}"] = ours("ctranslate2", hf.parent / f"ct2-{dtype}", dtype)
    found["transformers bfloat16"] = ours("transformers", hf, "bfloat16", threads=threads)
    if llama_python is not None:
        for kind in ("bf16", "q8_0"):
            found[f"llama.cpp {kind}"] = [llama_python, str(_HERE / "beside_llama.py"), str(hf), kind, str(threads)]
    if vllm_python is not None:
        found["vllm bfloat16"] = [vllm_python, str(_HERE / "beside_vllm.py"), str(hf)]
    return found


def run(
    samplers: dict[str, Sampler],
    shapes: Sequence[Shape],
    rounds: int,
    file: Path,
    console: Console,
    *,
    stop_s: float,
    of_cpu: bool,
) -> None:
    """Every shape once a round with every sampler, as far as it is not in the file; the order turns from round to
    round.
    """
    done = {(line["round"], *line["shape"], line["sampler"]) for line in lines_of(file)}
    for number in range(rounds):
        for shape in shapes:
            names = [name for name in samplers if (number, *shape, name) not in done]
            if names and time.monotonic() >= stop_s:
                console.print("time is up; the same command goes on")
                return
            for name in names if number % 2 == 0 else names[::-1]:
                try:
                    step_ms, prefill_s = samplers[name].measure(shape, of_cpu=of_cpu)
                except (RuntimeError, OSError) as error:
                    console.print(f"{name} is left out from here on: {error}")
                    del samplers[name]
                    continue
                line = {"round": number, "shape": shape, "sampler": name, "step_ms": step_ms, "prefill_s": prefill_s}
                with file.open("a") as lines:
                    lines.write(json.dumps(line | {"memory_mib": samplers[name].memory_mib}) + "\n")
                console.print(f"round {number + 1}, {shape}, {name}: {step_ms:.1f} ms a step, prompt {prefill_s:.2f} s")


def lines_of(file: Path) -> list[dict[str, Any]]:
    """What has been measured."""
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def print_table(file: Path, ours: str) -> None:
    """Milliseconds a step, and in brackets how many times as long as ours; then seconds for the longest prompt."""
    times: dict[Shape, dict[str, dict[int, dict[str, Any]]]] = defaultdict(lambda: defaultdict(dict))
    for line in lines_of(file):
        prompt, n, tokens = line["shape"]
        times[prompt, n, tokens][line["sampler"]][line["round"]] = line
    names = list(dict.fromkeys([ours, *(name for found in times.values() for name in found)]))
    typer.echo("| prompt | n | tokens | rounds | " + " | ".join(names) + " |\n" + "|---" * (len(names) + 4) + "|")
    for shape, found in sorted(times.items()):
        cells = [_cell(found[name], found[ours]) for name in names]
        rounds = max(len(each) for each in found.values())
        typer.echo(f"| {' | '.join(map(str, shape))} | {rounds} | {' | '.join(cells)} |")
    prompt = max(shape[0] for shape in times)
    of_prompt = [_median(times, name, "prefill_s", prompt) for name in names]
    typer.echo(f"| {prompt}, s | | | | " + " | ".join(f"{each:.2f}" if each else "-" for each in of_prompt) + " |")
    most = [
        max((line["memory_mib"] for line in lines_of(file) if line["sampler"] == name), default=0) for name in names
    ]
    typer.echo("| MiB at most | | | | " + " | ".join(f"{each:,.0f}" if each else "-" for each in most) + " |")


def _cell(theirs: dict[int, dict[str, Any]], ours: dict[int, dict[str, Any]]) -> str:
    if not theirs:
        return "-"
    told = f"{statistics.median(line['step_ms'] for line in theirs.values()):.1f}"
    ratios = [line["step_ms"] / ours[number]["step_ms"] for number, line in theirs.items() if number in ours]
    return f"{told} ({statistics.median(ratios):.2f})" if ratios and theirs is not ours else told


def _median(times: dict[Shape, Any], name: str, what: str, prompt: int) -> float | None:
    found = [line[what] for shape, each in times.items() if shape[0] == prompt for line in each[name].values()]
    return statistics.median(found) if found else None


def main(
    folder: Annotated[Path, typer.Option(help="Of the model and its conversions; made where they are not there.")],
    file: Annotated[Path, typer.Option(help="JSON lines, one a figure; what is in it is not measured again.")],
    prompts: Annotated[str, typer.Option(help="Lengths of the prompt, in tokens.")] = "128,1024",
    n: Annotated[str, typer.Option(help="Numbers of candidates.")] = "1,4,16,32",
    tokens: Annotated[int, typer.Option(min=2, help="Sampled a candidate.")] = 32,
    rounds: Annotated[int, typer.Option(min=0)] = 3,
    threads: Annotated[int, typer.Option(min=1)] = 2,
    cpu: Annotated[bool, typer.Option("--cpu", help="Count CPU time, for a file of its own.")] = False,
    only: Annotated[str, typer.Option(help="Samplers whose names contain one of these words.")] = "",
    ours: Annotated[str, typer.Option(help="The sampler that others are compared with.")] = "cpu float32",
    llama_python: Annotated[str | None, typer.Option(help="Python with llama-cpp-python and gguf.")] = None,
    vllm_python: Annotated[str | None, typer.Option(help="Python with vllm-cpu.")] = None,
    stop_after: Annotated[float, typer.Option(help="Seconds after which no shape is begun.")] = float("inf"),
) -> None:
    """Measure what is not in the file yet, and print the table of all that is."""
    console, stop_s = Console(stderr=True), time.monotonic() + stop_after
    shapes = [(int(prompt), int(number), tokens) for prompt in prompts.split(",") for number in n.split(",")]
    with ExitStack() as stack:
        hf, samplers = made_model(folder), dict[str, Sampler]()
        for name, command in commands(hf, threads, llama_python, vllm_python).items() if rounds else ():
            if not only or any(word in name for word in only.split(",")):
                try:
                    samplers[name] = Sampler(command, threads)
                except RuntimeError as error:
                    console.print(f"{name} is left out: {error}")
                    continue
                stack.callback(samplers[name].close)
                console.print(f"{name} is ready: {samplers[name].memory_mib:.0f} MiB")
        run(samplers, shapes, rounds, file, console, stop_s=stop_s, of_cpu=cpu)
    print_table(file, ours)


if __name__ == "__main__":
    typer.run(main)
