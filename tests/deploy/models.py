"""A model store for a rehearsal: an old champion, challengers that are worse, and a folder that cannot be served."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

from engine import Model, ModelStore, convert_folder

SETTINGS = """
[server]
champion_poll_s = 0.2
switch = "beside"
challenger_check_s = 0.5
challenger_alpha = 0.001
challenger_slots = 2

[engine]
dtype = "int8"

[reranker]
verifier = "touchstone-verifier"
"""
"""The contest is decided late, so that its evidence is seen to grow."""
OLD = timedelta(days=60)
SHADOW, CANARY = "touchstone-3.8m.r2", "touchstone-3.8m.r3"
_DAMAGED = "touchstone-3.8m.r4"


def add_rounds(state: Path) -> None:
    """Round 1, the bundled model, 60 days old, is champion; rounds 2 and 3 are an early checkpoint of it."""
    store = ModelStore(state)
    bundled, early = store.get("touchstone-3.8m"), store.get("touchstone-3.8m-early")
    converted = state / "early-int8"
    convert_folder(early.hf, converted, "int8")
    old = _add(store, 1, bundled, bundled.conversion("int8"))
    for number in (2, 3):
        _add(store, number, early, converted)
    _add(store, 4, bundled, bundled.conversion("int8"))
    manifest = old.folder / "manifest.json"
    page = json.loads(manifest.read_text()) | {"created_at": (datetime.now(UTC) - OLD).isoformat()}
    manifest.write_text(json.dumps(page))
    store.set_champion(bundled.id, old.id)


def damage(state: Path) -> None:
    """Make a folder champion after one of its files was written over."""
    store = ModelStore(state)
    (store.get(_DAMAGED).conversion("int8") / "model.bin").write_bytes(b"nothing")
    store.set_champion(store.champion_id(), _DAMAGED)


def _add(store: ModelStore, number: int, source: Model, converted: Path) -> Model:
    with store.add(family="touchstone", size="3.8m", round=number, parent="touchstone-3.8m") as draft:
        shutil.copytree(source.hf, draft.folder / "hf")
        shutil.copytree(converted, draft.folder / "ct2-int8")
        draft.evaluation = source.manifest.evaluation
    return store.get(draft.id)
