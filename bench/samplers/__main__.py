"""Milliseconds a step of N samples of one prompt: our engines cpu, ctranslate2 and transformers, llama.cpp, vLLM.

    python -m bench.samplers --llama-python ENV/bin/python --vllm-python ENV/bin/python --json samplers.json
    python -m bench.samplers --rounds 1 --prompts 128 --n 1,16 --tokens 24          a try, of our own engines alone

A Llama of 214M random weights is made on the spot, so nothing here says anything about text. Each sampler is a process
that keeps its model and waits; in a round each in turn does every shape once, so that other work on the host falls on
all of them (of CPU time, with `--cpu --threads 1`, hardly any does); figures are medians of the rounds, and ratios
medians of the rounds' ratios. A step is the time of a request less that of the same for one token a candidate, so
prompts do not count. Ours include sampling (temperature 0.8, top-k 50, top-p 0.95) and the way through the engine;
llama.cpp computes logits and samples nothing. A process that fails is left out, and its error printed.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated, Any

import psutil
import typer
from rich.console import Console

from engine import convert_folder

Shape = tuple[int, int]
"""Prompt tokens and N."""
_HERE = Path(__file__).parent
_MODEL = {
    "vocab_size": 16384, "hidden_size": 1024, "intermediate_size": 2304, "num_hidden_layers": 16,
    "num_attention_heads": 16, "num_key_value_heads": 16, "max_position_embeddings": 2048, "eos_token_id": 16383,
}  # fmt: skip
"""214M; the end of text is a padding token, which is never drawn."""


class Sampler:
    """A process that samples when asked."""

    def __init__(self, command: Sequence[str], threads: int) -> None:
        environment = os.environ | {"OMP_NUM_THREADS": str(threads), "VLLM_CPU_KVCACHE_SPACE": "2"}
        self._command = list(command)
        self._process = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            env=environment,
        )  # fmt: skip
        self.ready = self._read()

    def step_ms(self, shape: Shape, tokens: int) -> tuple[float, float]:
        """Milliseconds a step, of wall time and of CPU: those of a request for so many tokens less one for a single."""
        (wall_1_s, cpu_1_s), (wall_s, cpu_s) = (self._seconds(shape, count) for count in (1, tokens))
        return 1e3 * (wall_s - wall_1_s) / (tokens - 1), 1e3 * (cpu_s - cpu_1_s) / (tokens - 1)

    def _seconds(self, shape: Shape, tokens: int) -> tuple[float, float]:
        began_s, cpu_s = time.perf_counter(), self._cpu_s
        self._ask(shape, tokens)
        return time.perf_counter() - began_s, self._cpu_s - cpu_s

    @property
    def _cpu_s(self) -> float:
        root = psutil.Process(self._process.pid)
        times = [process.cpu_times() for process in (root, *root.children(recursive=True))]
        return float(sum(each.user + each.system for each in times))

    def _ask(self, shape: Shape, tokens: int) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"prompt": shape[0], "n": shape[1], "tokens": tokens}) + "\n")
        self._process.stdin.flush()
        return self._read()

    @property
    def memory_bytes(self) -> int:
        """Resident memory of the process and its children."""
        root = psutil.Process(self._process.pid)
        return sum(process.memory_info().rss for process in (root, *root.children(recursive=True)))

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


@contextmanager
def made_model() -> Iterator[Path]:
    """The `hf` folder of the model, and beside it its conversions."""
    from tests.engine.checkpoints import make_checkpoint

    with tempfile.TemporaryDirectory() as folder:
        changes: dict[str, Any] = _MODEL | {
            "initializer_range": 0.02,
            "rope_parameters": {"rope_type": "default", "rope_theta": 1e4},
        }
        hf = make_checkpoint(Path(folder) / "hf", "Llama", dtype="bfloat16", **changes)
        for dtype in ("int8", "float32"):
            convert_folder(hf, hf.parent / f"ct2-{dtype}", dtype)
            _never_end(hf.parent / f"ct2-{dtype}")
        _never_end(hf)
        yield hf


def _never_end(hf: Path) -> None:
    """Take the tokens that end a text, or a gap in one, out of the tokenizer."""
    for name in ("tokenizer.json", "tokenizer_config.json"):
        text = (hf / name).read_text()
        (hf / name).write_text(
            text.replace("<fim_", "<no_").replace('"eos_token": "<|endoftext|>"', '"eos_token": null')
        )


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


def measured(
    samplers: dict[str, Sampler], shapes: Sequence[Shape], tokens: int, rounds: int, of_cpu: bool, console: Console
) -> dict[Shape, dict[str, list[float]]]:
    """Milliseconds a step, by shape and sampler, one a round; the order of the samplers turns from round to round."""
    found: dict[Shape, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for number in range(rounds):
        for shape in shapes:
            for name in list(samplers) if number % 2 == 0 else list(samplers)[::-1]:
                try:
                    wall_ms, cpu_ms = samplers[name].step_ms(shape, tokens)
                except (RuntimeError, OSError) as error:
                    console.print(f"{name} is left out from here on: {error}")
                    del samplers[name]
                    continue
                found[shape][name].append(cpu_ms if of_cpu else wall_ms)
                told = f"round {number + 1}, prompt {shape[0]}, n {shape[1]}, {name}"
                console.print(f"{told}: {wall_ms:.1f} ms, {cpu_ms:.1f} of CPU")
    return found


def row(times: dict[str, list[float]], name: str, ours: str) -> str:
    """A sampler's milliseconds a step, and how many times ours it takes."""
    if not times.get(name):
        return "-"
    ratios = [theirs / our for theirs, our in zip(times[name], times[ours], strict=False)]
    return f"{statistics.median(times[name]):.1f} ({statistics.median(ratios):.2f})"


def main(
    prompts: Annotated[str, typer.Option(help="Lengths of the prompt, in tokens.")] = "128,1024",
    n: Annotated[str, typer.Option(help="Numbers of candidates.")] = "1,4,16,32",
    tokens: Annotated[int, typer.Option(min=2, help="Sampled a candidate.")] = 64,
    rounds: Annotated[int, typer.Option(min=1)] = 3,
    threads: Annotated[int, typer.Option(min=1)] = 2,
    cpu: Annotated[bool, typer.Option("--cpu", help="Count CPU time, not wall time.")] = False,
    only: Annotated[str, typer.Option(help="Samplers whose names contain one of these words.")] = "",
    ours: Annotated[str, typer.Option(help="The sampler that others are compared with.")] = "cpu float32",
    llama_python: Annotated[str | None, typer.Option(help="Python with llama-cpp-python and gguf.")] = None,
    vllm_python: Annotated[str | None, typer.Option(help="Python with vllm-cpu.")] = None,
    json_path: Annotated[Path | None, typer.Option("--json", help="Keep every figure here.")] = None,
) -> None:
    """Print a table of milliseconds a step, and in brackets how many times as long as ours."""
    console = Console(stderr=True)
    shapes = [(int(prompt), int(number)) for prompt in prompts.split(",") for number in n.split(",")]
    with ExitStack() as stack:
        hf = stack.enter_context(made_model())
        samplers: dict[str, Sampler] = {}
        for name, command in commands(hf, threads, llama_python, vllm_python).items():
            if name == ours or not only or any(word in name for word in only.split(",")):
                try:
                    samplers[name] = Sampler(command, threads)
                except RuntimeError as error:
                    console.print(f"{name} is left out: {error}")
                    continue
                stack.callback(samplers[name].close)
                console.print(f"{name} is ready: {samplers[name].memory_bytes / 2**20:.0f} MiB")
        names = list(samplers)
        found = measured(samplers, shapes, tokens, rounds, cpu, console)
        memory = {name: f"{sampler.memory_bytes / 2**20:.0f}" for name, sampler in samplers.items()}
    typer.echo("| prompt | n | " + " | ".join(names) + " |\n" + "|---" * (len(names) + 2) + "|")
    for (prompt, number), times in found.items():
        typer.echo(f"| {prompt} | {number} | " + " | ".join(row(times, name, ours) for name in names) + " |")
    typer.echo("| MiB after | | " + " | ".join(memory.get(name, "-") for name in names) + " |")
    if json_path is not None:
        kept = [{"prompt": shape[0], "n": shape[1], "ms": times} for shape, times in found.items()]
        json_path.write_text(json.dumps({"tokens": tokens, "threads": threads, "shapes": kept}, indent=2))


if __name__ == "__main__":
    typer.run(main)
