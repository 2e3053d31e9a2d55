"""The loop as metrics: which round is served, what it was measured at, and how the rounds before it were decided.

Read from the model store's small files when they are scraped, so every server on one store says the same, also after a
restart.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from typing import Any

from prometheus_client.core import Metric

from engine import EngineError, Manifest, ModelStore
from server.meters import Collecting, Meter

_log = logging.getLogger(__name__)
_ROUND = Meter(
    "gauge", "training_round_info", "1 for the champion: its id, round and parent.", ("model", "round", "parent")
)
_CREATED = Meter(
    "gauge", "training_round_created_timestamp_seconds", "When the champion's folder was made, in seconds since 1970."
)
_PASS = Meter(
    "gauge",
    "round_eval_pass_at_1",
    "The champion's pass@1 (one sample) on each suite it was evaluated on, as its manifest says.",
    ("suite", "round"),
)
_PROMOTIONS = Meter(
    "counter",
    "promotions",
    "Rounds of the model store by what became of them: `promoted` (past the gate, the folder in the store), `refused`"
    " (by the gate or by a contest).",
    ("decision",),
)
_ONE_SAMPLE = "random"
"""What an evaluation calls the mean over single samples."""


class LoopCollector(Collecting):
    """Rounds, their evaluation, their decisions; nothing where no model store is followed."""

    METERS = (_ROUND, _CREATED, _PASS, _PROMOTIONS)

    def __init__(self) -> None:
        self.store: ModelStore | None = None
        """Set once the server follows one."""

    def collect(self) -> Iterator[Metric]:
        """What the store says now; what of it cannot be read is left out, and the log says why."""
        store = self.store
        if store is None:
            return
        try:
            champion = store.champion()
            refused = store.refused()
            promoted = {model.id for model in store.list() if model.manifest.round} - {each.id for each in refused}
        except (EngineError, OSError) as error:
            _log.warning("the model store's metrics cannot be read: %s", error)
            return
        yield _PROMOTIONS.family([(["promoted"], len(promoted)), (["refused"], len(refused))])
        if champion is not None:
            manifest = champion.manifest
            yield _ROUND.family([([manifest.id, str(manifest.round), manifest.parent or ""], 1)])
            yield _CREATED.family([([], manifest.created_at.timestamp())])
            found = pass_at_1(manifest)
            yield _PASS.family([([suite, str(manifest.round)], value) for suite, value in found.items()])


def pass_at_1(manifest: Manifest) -> dict[str, float]:
    """By suite, as a round's evaluation or the bundled models' tells it; a manifest may say anything, or nothing."""
    evaluation: Mapping[str, Any] = manifest.evaluation or {}
    found: dict[str, Any] = {}
    suites = evaluation.get("suites")
    for suite in suites if isinstance(suites, list) else ():
        for each in suite.get("of", ()) if isinstance(suite, dict) else ():
            if isinstance(each, dict) and (each.get("measure"), each.get("k")) == (_ONE_SAMPLE, 1):
                found[str(suite.get("suite"))] = each.get("value")
    measures = evaluation.get("measures")
    if isinstance(measures, dict) and "suite" in evaluation:
        found[str(evaluation["suite"])] = measures.get(f"{_ONE_SAMPLE}@1")
    return {suite: float(value) for suite, value in found.items() if isinstance(value, int | float)}
