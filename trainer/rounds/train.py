"""The steps `train`, `merge` and `convert`: from groups to a model folder that can be served.

Training is a process of its own (`python -m trainer.tuning`): what it held in memory is gone before the next step, and
it can be several.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from pathlib import Path

from engine import convert_folder, seal
from trainer.errors import TrainerError
from trainer.rounds.collect import FILE
from trainer.rounds.work import Work
from trainer.tuning import MetricsReader, Plan, plan_to_json

_LOOK_EVERY_S = 2.0
_LAST_LINES = 12
_LONGEST = 2000
"""Characters kept of a line: a progress bar is one long one."""
_LIMIT_BYTES = 1 << 24
"""Of a line, behind which asyncio gives up reading."""


async def train(work: Work, folder: Path) -> None:
    """Tune the champion on the groups; goes on from its checkpoints. Raises `TrainerError` with its last lines."""
    config = work.config.trainer
    plan = Plan(
        base=work.parent.hf,
        groups=work.folder.of("samples") / FILE,
        out=folder / "weights",
        checkpoints=folder / "checkpoints",
        recipe=config.recipe,
        threads=config.threads,
        processes=config.processes,
        ray=config.ray,
        starter=os.getpid(),
    )
    file = folder / "plan.json"
    file.write_text(plan_to_json(plan), encoding="utf-8")
    await _run(work, file, plan)
    if plan.metrics.exists():
        shutil.copyfile(plan.metrics, folder / "metrics.jsonl")
    shutil.rmtree(plan.checkpoints, ignore_errors=True)  # gone already where a round was cut short just behind this


async def _run(work: Work, file: Path, plan: Plan) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "trainer.tuning", str(file)),
        env={**os.environ, "OMP_NUM_THREADS": str(plan.threads)},
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        limit=_LIMIT_BYTES,
    )
    looking = asyncio.create_task(_look(work, plan))
    last: list[str] = []
    try:
        assert process.stderr is not None  # noqa: S101 - it was asked for
        async for line in process.stderr:
            last = [*last, line.decode("utf-8", "replace").rstrip()[-_LONGEST:]][-_LAST_LINES:]
            if last[-1].startswith("layout "):
                work.told.line(last[-1])
        status = await process.wait()
    except BaseException:
        if process.returncode is None:
            process.kill()
        await process.wait()
        raise
    finally:
        looking.cancel()
    if status:
        raise TrainerError(f"training ended with {status}: " + "\n".join(last))


async def _look(work: Work, plan: Plan) -> None:
    """Tell how far it is, from the metrics it writes."""
    reader, last, total = MetricsReader(plan.metrics), 0, None
    while True:
        await asyncio.sleep(_LOOK_EVERY_S)
        lines, first = reader.new()
        if first:
            last, total = 0, None
        total = next((line["steps"] for line in lines if "steps" in line), total)
        last = max([int(line["step"]) for line in lines if line["kind"] == "step"], default=last)
        if last and total is not None:  # TRL does not say beforehand how many there will be
            work.told.progress(last, int(total), "steps")


async def merge(work: Work, folder: Path) -> None:
    """The whole weights as an `hf` folder: the trained ones, or the adapter put into the champion's."""
    weights = work.folder.of("train") / "weights"
    target = folder / "hf"
    shutil.rmtree(target, ignore_errors=True)
    if work.config.trainer.recipe.lora_rank is None:
        link_tree(weights, target)
        return
    from trainer.tuning.model import merge as put_in

    await asyncio.to_thread(put_in, weights, work.parent.hf, target)


async def convert(work: Work, folder: Path) -> None:
    """The model folder: `hf/`, a conversion for each dtype, the adapter if that is what was trained, the manifest."""
    facts = work.facts
    model = folder / facts.id
    shutil.rmtree(model, ignore_errors=True)  # half of a conversion cannot be gone on with
    model.mkdir()
    link_tree(work.folder.of("merge") / "hf", model / "hf")
    if work.config.trainer.recipe.lora_rank is not None:
        link_tree(work.folder.of("train") / "weights", model / "adapter")
    dtypes = work.config.trainer.dtypes
    for number, dtype in enumerate(dtypes):
        work.told.progress(number, len(dtypes), f"to {dtype}")
        await asyncio.to_thread(convert_folder, model / "hf", model / f"ct2-{dtype}", dtype)
    seal(
        model,
        id=facts.id,
        family=facts.family,
        size=facts.size,
        round=facts.round,
        parent=facts.parent,
        source=f"touchstone train round, {work.config.trainer.recipe.loss} on {work.parent.id}",
    )


def link_tree(source: Path, target: Path) -> None:
    """A folder again, without its bytes twice where the file system has hard links."""

    def link(one: str, other: str) -> str:
        try:
            os.link(one, other)
        except OSError:  # another file system, or one that has none
            shutil.copy2(one, other)
        return other

    shutil.copytree(source, target, copy_function=link)
