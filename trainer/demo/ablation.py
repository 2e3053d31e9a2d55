"""What each loss is worth: the same groups, several seeds, held-out pass@1 and pass@k.

    python -m trainer.demo.ablation --round STATE/rounds/ID --out FOLDER

Every tuning and every evaluation is kept, so that it goes on where it was cut short.
"""

from __future__ import annotations

import asyncio
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, cast

import typer

from engine import Model, ModelStore, convert_folder, read_manifest, seal, write_json
from reranker.evaluation import (
    GREEDY,
    ORACLE,
    RANDOM,
    Estimate,
    Report,
    difference,
    estimate,
    load_suite,
)
from trainer.errors import TrainerError
from trainer.rounds.collect import FILE
from trainer.rounds.config import EvaluationConfig
from trainer.rounds.evaluate import Measurer
from trainer.rounds.folder import RoundFolder
from trainer.rounds.screen import Screen
from trainer.rounds.train import link_tree
from trainer.tuning import LossName, Plan, Recipe, plan_to_json

LOSSES = ("sft", "rank", "rrtf", "rrhf", "oreal", "dpo")
"""With "none", which is the champion that the round began from."""

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One loss, over its seeds: means over problems and seeds, intervals over problems."""

    loss: str
    seeds: int
    values: dict[str, Estimate] = field(default_factory=dict)
    """By measure: `greedy`, `random` (pass@1), `oracle` (pass@k)."""
    gains: dict[str, Estimate] = field(default_factory=dict)
    """On no training, paired by problem."""


@app.command()
def main(
    folder: Annotated[Path, typer.Option("--round", help="A round's folder, whose groups are trained on.")],
    out: Annotated[Path, typer.Option(help="Folder to work in; goes on with what it finds.")],
    suite: Annotated[str, typer.Option(help="What is evaluated on.")] = "bundled",
    loss: Annotated[list[str] | None, typer.Option(help="Several times; all if not given.")] = None,
    seeds: Annotated[int, typer.Option(min=1)] = 3,
    n: Annotated[int, typer.Option("--n", min=1, help="Samples a problem.")] = 16,
    limit: Annotated[int | None, typer.Option(help="Only the first so many problems.")] = None,
    epochs: Annotated[int, typer.Option(min=1)] = 2,
    rate: Annotated[float, typer.Option()] = 1e-3,
) -> None:
    """Train the champion of a round on its groups by each loss, and hold the results against each other."""
    recipe = Recipe(epochs=epochs, rate=rate, prompts=8, responses=6)
    from rich.console import Console

    with Screen(Console(stderr=True)) as told:
        ablation = Ablation(RoundFolder(folder), out, EvaluationConfig(n=n, limit=limit), suite, told)
        rows = asyncio.run(ablation.run(loss or LOSSES, seeds, recipe))
    _print(rows, n)
    write_json(out / "ablation.json", [_data(row) for row in rows])


class Ablation:
    """All of it."""

    def __init__(self, folder: RoundFolder, out: Path, config: EvaluationConfig, suite: str, told: Screen) -> None:
        self._folder, self._out, self._told = folder, out, told
        self._suite = load_suite(suite)
        out.mkdir(parents=True, exist_ok=True)
        self._store = ModelStore(folder.path.parents[1])
        self._base = self._store.get(folder.facts.parent)
        self._measurer = Measurer(self._store, out / "evaluated", config, threads=1, told=told)

    async def run(self, losses: Sequence[str], seeds: int, recipe: Recipe) -> list[Row]:
        """A row a loss, the first of no training."""
        base = await self._report(self._base)
        rows = [_row("none", [base], base)]
        for loss in losses:
            reports = []
            for seed in range(seeds):
                model = await self._model(replace(recipe, loss=cast("LossName", loss), seed=seed))
                reports.append(await self._report(model))
            rows.append(_row(loss, reports, base))
            self._told.line(f"{loss}: pass@1 {_percent(rows[-1].values[RANDOM])}")
        return rows

    async def _report(self, model: Model) -> Report:
        return await self._measurer.report(self._suite, model, "int8")

    async def _model(self, recipe: Recipe) -> Model:
        name = f"{recipe.loss}-{recipe.seed}"
        model = self._out / name
        if not (model / "manifest.json").exists():
            weights = await self._tuned(recipe, name)
            shutil.rmtree(model, ignore_errors=True)
            model.mkdir()
            link_tree(weights, model / "hf")
            await asyncio.to_thread(convert_folder, model / "hf", model / "ct2-int8", "int8")
            facts = self._folder.facts
            seal(model, id=name, family=facts.family, size=facts.size, round=facts.round)
        return Model(model, read_manifest(model))

    async def _tuned(self, recipe: Recipe, name: str) -> Path:
        plan = Plan(
            base=self._base.hf,
            groups=self._folder.of("samples") / FILE,
            out=self._out / f"{name}-weights",
            checkpoints=self._out / f"{name}-checkpoints",
            recipe=recipe,
            threads=1,
        )
        file = self._out / f"{name}.json"
        file.write_text(plan_to_json(plan), encoding="utf-8")
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "trainer.tuning", str(file)), stderr=asyncio.subprocess.PIPE
        )
        _, errors = await process.communicate()
        if process.returncode:
            raise TrainerError(f"{name}: {errors.decode('utf-8', 'replace')[-2000:]}")
        return plan.out


def _row(loss: str, reports: Sequence[Report], base: Report) -> Row:
    largest = base.settings.ks[-1]
    values, gains = {}, {}
    for name, k in ((GREEDY, 1), (RANDOM, 1), (ORACLE, largest)):
        mean = _means(reports, name, k)
        values[name] = estimate(list(mean.values()))
        before = _means([base], name, k)
        shared = [problem for problem in before if problem in mean]
        gains[name] = difference([before[problem] for problem in shared], [mean[problem] for problem in shared])
    return Row(loss=loss, seeds=len(reports), values=values, gains=gains)


def _means(reports: Sequence[Report], name: str, k: int) -> dict[str, float]:
    """Of each problem the mean over seeds."""
    found: dict[str, list[float]] = {}
    for report in reports:
        for record in report.judged:
            value = record.value(name, k)
            if value is not None:
                found.setdefault(record.task_id, []).append(value)
    return {problem: sum(values) / len(values) for problem, values in found.items()}


def _print(rows: Sequence[Row], n: int) -> None:
    typer.echo(f"| loss | greedy | pass@1 | on none | pass@{n} | on none |\n|---|---|---|---|---|---|")
    for row in rows:
        cells = [row.loss, _percent(row.values[GREEDY])]
        for name in (RANDOM, ORACLE):
            cells += [_percent(row.values[name]), "" if row.loss == "none" else _points(row.gains[name])]
        typer.echo("| " + " | ".join(cells) + " |")


def _data(row: Row) -> dict[str, object]:
    return {
        "loss": row.loss,
        "seeds": row.seeds,
        "values": {name: [each.value, each.low, each.high] for name, each in row.values.items()},
        "gains": {name: [each.value, each.low, each.high] for name, each in row.gains.items()},
    }


def _percent(each: Estimate) -> str:
    return f"{100 * each.value:.1f} [{100 * each.low:.0f}, {100 * each.high:.0f}]"


def _points(each: Estimate) -> str:
    return f"{100 * each.value:+.1f} [{100 * each.low:+.1f}, {100 * each.high:+.1f}]"


if __name__ == "__main__":
    app()
