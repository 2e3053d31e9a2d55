"""What a table found out about engines, where `engine.type` "auto" looks for it."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from bench.table.result import Table
from bench.table.rows import Subject
from bench.table.work import Asked
from engine import EngineTiming, Model, available_cores, keep_timings, read_manifest


def keep_table(table: Table, subject: Subject, asked: Asked, calibrations: Path) -> Path | None:
    """Write the timings of rows that say which engine is the fastest, and where; None where none does.

    Those of a type that two engines at least were timed in, side by side, with this interpreter's own libraries, and of
    a model folder of ours.
    """
    if subject.given is None or not table.in_turns:
        return None
    by_type: dict[str, list[EngineTiming]] = defaultdict(list)
    for line in table.lines:
        if line.failed is None and line.effective is not None and line.engine not in asked.pythons:
            by_type[line.dtype] += [
                EngineTiming(
                    engine=line.engine,
                    dtype=line.dtype,
                    effective=line.effective,
                    n=speed.n,
                    ms_per_token=speed.ms_per_token,
                )
                for speed in line.speeds
            ]
    timings = [one for found in by_type.values() if len({one.engine for one in found}) > 1 for one in found]
    if not timings:
        return None
    return keep_timings(
        Model(subject.given, read_manifest(subject.given)),
        timings,
        cores=asked.threads or available_cores(),
        device=asked.device,
        folder=calibrations,
    )
