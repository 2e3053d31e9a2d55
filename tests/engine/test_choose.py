"""`engine.type` "auto": which engine by what was measured, what without, and what the figures hold for."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from engine import EngineConfig, EngineInfo, EngineTiming, Model, ModelStore, build_engine, choose_engine, keep_timings
from engine.calibration.engines import fastest, remembered_timings
from engine.registry import HOLD_MODELS, missing_libraries

AUTO = EngineConfig(type="auto", device="cpu", threads=1)
TIMINGS = (("ctranslate2", 1, 2.0), ("cpu", 1, 3.0), ("ctranslate2", 16, 0.9), ("cpu", 16, 0.5))


def timing(engine: str, n: int, ms: float, dtype: str = "auto") -> EngineTiming:
    return EngineTiming(engine=engine, dtype=dtype, effective="float32", n=n, ms_per_token=ms)


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    return ModelStore(tmp_path / "state")  # an empty one: the bundled model


def champion(store: ModelStore) -> Model:
    found = store.champion()
    assert found is not None
    return found


def keep(store: ModelStore, timings: Sequence[tuple[str, int, float]] = TIMINGS, dtype: str = "auto") -> Path:
    rows = [timing(*each, dtype) for each in timings]
    return keep_timings(champion(store), rows, cores=1, device="cpu", folder=store.calibrations)


def info(engine: str) -> EngineInfo:
    return EngineInfo(engine=engine, model="m", dtype="float32", context_length=8, fim=None, honours=frozenset())


@pytest.mark.parametrize(("n", "first"), [(1, "ctranslate2"), (3, "ctranslate2"), (5, "cpu"), (8, "cpu"), (64, "cpu")])
def test_the_fastest_at_the_number_measured_nearest(n: int, first: str) -> None:
    order = fastest([timing(*each) for each in TIMINGS], dtype="auto", n=n, among=HOLD_MODELS)
    assert order[0].engine == first
    assert len(order) == 2


def test_equals_go_to_the_light_install_and_what_is_not_installed_is_left_out() -> None:
    rows = [timing("cpu", 16, 1.0), timing("ctranslate2", 16, 1.04), timing("vllm", 16, 0.2)]
    order = fastest(rows, dtype="auto", n=16, among=("ctranslate2", "cpu"))
    assert [each.engine for each in order] == ["ctranslate2", "cpu"]
    assert fastest(rows, dtype="float32", n=16, among=HOLD_MODELS) == ()


def test_without_figures_it_is_the_default_or_what_is_at_work(store: ModelStore) -> None:
    choice = choose_engine(AUTO, store, n=8)
    assert (choice.config.type, choice.measured) == ("ctranslate2", False)
    assert "the default: nothing was measured of this model in auto" in choice.why
    assert choose_engine(AUTO, store, n=8, like=info("cpu")).config.type == "cpu"
    assert choose_engine(AUTO, store, n=8, like=info("scripted")).config.type == "ctranslate2"
    named = EngineConfig(type="cpu")
    assert choose_engine(named, store, n=8).config is named


def test_figures_choose_by_the_number_of_candidates_and_the_type(store: ModelStore) -> None:
    if missing_libraries("cpu"):
        pytest.skip("torch is not installed")
    keep(store)
    assert choose_engine(AUTO, store, n=1).config.type == "ctranslate2"
    choice = choose_engine(AUTO, store, n=8)
    assert (choice.config.type, choice.measured) == ("cpu", True)
    assert choice.why.startswith("cpu in float32 (2000 tokens/s), the fastest at 16 candidates; ctranslate2 in float32")
    assert choose_engine(AUTO.model_copy(update={"threads": 3}), store, n=8).measured is False, "other cores"
    keep(store, (("ctranslate2", 16, 0.1), ("cpu", 16, 0.2)), "int8")
    assert choose_engine(AUTO.model_copy(update={"dtype": "int8"}), store, n=8).config.type == "ctranslate2"
    assert choose_engine(AUTO, store, n=8).config.type == "cpu", "one type's figures leave another's"


def test_a_round_has_the_figures_of_the_model_it_grew_from(store: ModelStore) -> None:
    with store.add(family="touchstone", size="3m", round=7) as draft:
        shutil.copytree(champion(store).hf, draft.folder / "hf", symlinks=False)
        config = draft.folder / "hf" / "config.json"
        config.write_text(json.dumps(json.loads(config.read_text()) | {"transformers_version": "9.9"}))
        for dtype in champion(store).manifest.conversions:
            shutil.copytree(champion(store).conversion(dtype), draft.folder / f"ct2-{dtype}")
    keep(store)
    model = store.get("touchstone-3m.r7")
    found = remembered_timings(model, cores=1, device="cpu", folder=store.calibrations)
    assert found is not None
    assert found.model == champion(store).id


def test_a_file_that_cannot_be_read_does_not_count(store: ModelStore) -> None:
    path = keep(store)
    path.write_text("{")
    assert choose_engine(AUTO, store, n=8).measured is False
    keep(store)
    assert remembered_timings(champion(store), cores=1, device="cpu", folder=store.calibrations) is not None


def test_the_engine_that_is_built_is_the_one_that_was_chosen(store: ModelStore) -> None:
    pytest.importorskip("torch")
    keep(store)

    async def built(n: int) -> str:
        engine = await build_engine(AUTO, store, n=n)
        await engine.aclose()
        return engine.info.engine

    assert asyncio.run(built(16)) == "cpu"
    assert asyncio.run(built(1)) == "ctranslate2"
