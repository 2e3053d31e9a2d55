"""One copy of a prompt for its K responses, against one copy each: trained tokens a second and peak memory.

    python -m bench.shared_prefix

Every figure is the median of several processes, the two layouts in turn within a round, so that other work on the
host falls on both; seconds are of CPU, on one thread, so that most of it does not fall on them at all. A process
trains one step of a Llama of random weights (RRTF, AdamW, float32) on one group, after a step on a small one; its peak
of resident memory is its own. The trainer is started, never imported.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from typing import Annotated, Any

import typer
from rich.console import Console

LAYOUTS = ("plain", "packed")


def run(layout: str, shape: tuple[int, int, int], threads: int) -> dict[str, Any]:
    """One process: `shape` is (K, prompt tokens, response tokens)."""
    responses, prompt, response = map(str, shape)
    command = [sys.executable, "-W", "ignore", "-m", "trainer.layout", "--layout", layout, "--responses", responses]
    command += ["--prompt-tokens", prompt, "--response-tokens", response, "--threads", str(threads)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    facts: dict[str, Any] = json.loads(done.stdout)
    return facts


def compare(shape: tuple[int, int, int], rounds: int, threads: int, console: Console) -> str:
    """A row of the table."""
    found: dict[str, list[dict[str, Any]]] = {layout: [] for layout in LAYOUTS}
    for number in range(rounds):
        for layout in LAYOUTS if number % 2 == 0 else LAYOUTS[::-1]:
            found[layout].append(run(layout, shape, threads))
            console.print(f"{shape}, {layout}: {found[layout][-1]['cpu_seconds'][0]:.1f} s of CPU")
    losses = [found[layout][0]["loss"] for layout in LAYOUTS]
    if abs(losses[0] - losses[1]) > 1e-4 * abs(losses[0]):
        raise SystemExit(f"{shape}: the layouts' losses differ: {losses}")
    speeds = {
        layout: statistics.median(each["trained_tokens"] / each["cpu_seconds"][0] for each in found[layout])
        for layout in LAYOUTS
    }
    # Round by round: what slows the host down slows both.
    ratios = sorted(
        a["cpu_seconds"][0] / b["cpu_seconds"][0] for a, b in zip(found["plain"], found["packed"], strict=True)
    )
    peak, over = (
        {
            layout: statistics.median(each["peak_bytes"] - less(each) for each in found[layout]) / 2**20
            for layout in LAYOUTS
        }
        for less in (lambda _: 0, lambda each: each["at_rest_bytes"])
    )
    return (
        f"| {shape[0]} | {shape[1]} / {shape[2]} | {speeds['plain']:.0f} | {speeds['packed']:.0f} | "
        f"{statistics.median(ratios):.2f} [{ratios[0]:.2f}, {ratios[-1]:.2f}] | "
        f"{peak['plain']:.0f} ({over['plain']:.0f}) | {peak['packed']:.0f} ({over['packed']:.0f}) | "
        f"{over['plain'] / over['packed']:.2f} |"
    )


def main(
    rounds: Annotated[int, typer.Option(min=1)] = 2,
    threads: Annotated[int, typer.Option(min=1)] = 1,
    most: Annotated[int, typer.Option(min=2, help="Largest K.")] = 32,
) -> None:
    """Print the table: the prompt three times as long as a response, K from 2 to 32, and once twice as long as that."""
    console = Console(stderr=True)
    shapes = [(k, 384, 128) for k in (2, 4, 8, 16, 32) if k <= most] + [(8, 768, 256)]
    typer.echo(
        "| K | prompt / response | plain, tokens/s | packed | ratio [all] | plain, MiB | packed | ratio over rest |"
    )
    typer.echo("|---|---|---|---|---|---|---|---|")
    for shape in shapes:
        typer.echo(compare(shape, rounds, threads, console))


if __name__ == "__main__":
    typer.run(main)
