"""`dtype = "auto"` on CPUs: what is chosen from, what is chosen, and when it is measured. No test looks at a time."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import shutil
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from engine import EngineConfig, EngineError, EngineInfo, ModelStore, build_engine, convert_model
from engine.calibration import Calibration, Timing, Way, calibrated, choose, ways_of
from engine.calibration.host import free_memory_bytes, total_memory_bytes
from engine.calibration.measure import measure
from engine.models import Model
from tests.engine.checkpoints import make_checkpoint

pytest.importorskip("torch")
CPU = {"int8", "int8_float32", "float32"}
CPU_WITH_BFLOAT16 = CPU | {"bfloat16", "int8_bfloat16"}
NAME = "tiny-30k.r0"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state folder with one model in two conversions; tests work on copies."""
    state = tmp_path_factory.mktemp("calibration") / "state"
    store = ModelStore(state, bundled_dir=state / "none")
    with store.add(family="tiny", size="30k") as draft:
        make_checkpoint(draft.folder / "hf")
    for dtype in ("int8", "float32"):
        convert_model(store, store.get(NAME), dtype)
    return state


@pytest.fixture
def store(made: Path, tmp_path: Path) -> ModelStore:
    shutil.copytree(made, tmp_path / "state")
    return ModelStore(tmp_path / "state", bundled_dir=tmp_path / "none")


def served(store: ModelStore, **settings: object) -> EngineInfo:
    """Start an engine, end it, and tell what it was."""

    async def start() -> EngineInfo:
        config = {"device": "cpu", "threads": 1, "model": NAME} | settings
        engine = await build_engine(EngineConfig.model_validate(config), store)
        await engine.aclose()
        return engine.info

    return asyncio.run(start())


def figures(store: ModelStore, cores: int = 1) -> Calibration:
    found = calibrated(store.get(NAME), cores=cores, folder=store.state_dir / "calibration")
    assert found is not None
    return found


def kept(store: ModelStore) -> list[Path]:
    return sorted((store.state_dir / "calibration").glob("*"))


def timing(dtype: str, many_us: float | None, one_us: float | None = 1.0) -> Timing:
    return Timing(dtype, "default", dtype, one_us, many_us, left_out="" if many_us else "broken")


@pytest.mark.parametrize(
    ("costs", "chosen"),
    [
        ({"int8": 10.0, "float32": 20.0}, "int8"),
        ({"int8": 20.0, "float32": 10.0}, "float32"),
        ({"int8": 10.0, "float32": 10.0}, "int8"),
        ({"int8": 10.4, "float32": 10.0}, "int8"),
        ({"int8": 10.6, "float32": 10.0}, "float32"),
        ({"int8": 10.8, "bfloat16": 10.4, "float32": 10.0}, "bfloat16"),
        ({"int8": None, "float32": 99.0}, "float32"),
        ({"int8": None, "float32": None}, None),
        ({}, None),
    ],
)
def test_the_least_cost_of_many_rows_is_chosen_and_of_equals_the_first(
    costs: dict[str, float | None], chosen: str | None
) -> None:
    found = choose([timing(dtype, cost) for dtype, cost in costs.items()])
    assert (found and found.dtype) == chosen


def test_one_row_does_not_count() -> None:
    found = choose([timing("int8", 10.0, one_us=99.0), timing("float32", 20.0, one_us=1.0)])
    assert found is not None
    assert found.dtype == "int8"


@pytest.mark.parametrize(
    ("stored", "supported", "expected"),
    [
        (["int8"], CPU, [("int8", "default", "int8_float32"), ("int8", "float32", "float32")]),
        (["float32", "int8"], CPU, [("int8", "default", "int8_float32"), ("float32", "default", "float32")]),
        (["float16"], CPU, [("float16", "default", "float32")]),
        (["float32"], CPU_WITH_BFLOAT16, [("float32", "default", "float32")]),
        (["bfloat16"], CPU_WITH_BFLOAT16, [("bfloat16", "default", "bfloat16"), ("bfloat16", "float32", "float32")]),
        (["int8", "int8_float16"], CPU, [("int8", "default", "int8_float32"), ("int8", "float32", "float32")]),
        (["int8_float16"], CPU, [("int8_float16", "default", "int8_float32"), ("int8_float16", "float32", "float32")]),
        (["unheard_of"], CPU, []),
    ],
)  # fmt: skip
def test_no_way_is_less_precise_than_what_is_stored(
    stored: list[str], supported: set[str], expected: list[tuple[str, str, str]], tmp_path: Path
) -> None:
    for dtype in stored:
        (tmp_path / dtype).mkdir()
        (tmp_path / dtype / "model.bin").write_bytes(
            bytes(400 if dtype == "float32" else 200 if "bf" in dtype else 100)
        )
    found = ways_of({dtype: tmp_path / dtype for dtype in stored}, supported)
    assert [(way.conversion, way.compute, way.dtype) for way in found] == expected


def test_memory_is_that_of_the_type_computed_in(tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_bytes(bytes(1000))
    found = ways_of({"int8": tmp_path}, CPU)
    assert [way.memory_bytes for way in found] == [1000, 4000]


def test_a_second_start_does_not_measure_again(store: ModelStore) -> None:
    info = served(store)
    (path,) = kept(store)
    before = (path.read_bytes(), path.stat().st_mtime_ns)
    assert served(store) == info
    assert [path] == kept(store)
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before
    chosen = figures(store).chosen
    assert chosen is not None
    assert info.dtype == chosen.dtype
    assert info.model == f"tiny:30k-{chosen.conversion}.r0"


def test_kept_figures_decide(store: ModelStore) -> None:
    """Nothing is loaded to choose: what the file says is believed, whichever way."""
    served(store)
    (path,) = kept(store)
    for winner in ("int8_float32", "float32"):
        file = json.loads(path.read_text())
        for entry in file["timings"]:
            entry["many_us"] = 1.0 if entry["dtype"] == winner else 2.0
        path.write_text(json.dumps(file))
        assert served(store).dtype == winner


@pytest.mark.parametrize("content", ["", "{", "[]", '{"schema_version": 2}'])
def test_a_broken_file_is_measured_again(store: ModelStore, content: str, caplog: pytest.LogCaptureFixture) -> None:
    figures(store)
    (path,) = kept(store)
    path.write_text(content)
    assert figures(store).chosen is not None
    assert "is measured again" in caplog.text
    assert json.loads(path.read_text())["schema_version"] == 1


def test_a_file_of_another_key_is_not_believed(store: ModelStore) -> None:
    figures(store)
    (path,) = kept(store)
    file = json.loads(path.read_text())
    file["key"]["cores"] = 64
    path.write_text(json.dumps(file))
    figures(store)
    assert json.loads(path.read_text())["key"]["cores"] == 1


def test_another_host_or_layout_or_model_has_figures_of_its_own(
    store: ModelStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures(store)
    figures(store, cores=2)
    assert len(kept(store)) == 2
    monkeypatch.setenv("OMP_DISPLAY_ENV", "FALSE")  # read by the libraries, so it could matter
    figures(store)
    assert len(kept(store)) == 3
    model = store.get(NAME)
    other = Model(model.folder, replace(model.manifest, checksums={}))
    calibrated(other, cores=1, folder=store.state_dir / "calibration")
    assert len(kept(store)) == 4


def test_without_a_place_to_keep_them_figures_are_measured_and_that_is_said(
    store: ModelStore, caplog: pytest.LogCaptureFixture
) -> None:
    (store.state_dir / "calibration").write_text("a file, where a folder should be")
    caplog.set_level(logging.INFO, "engine")
    assert served(store).dtype in CPU
    assert "cannot be written, so every start measures again" in caplog.text
    assert f"dtype auto for {NAME}, measured in" in caplog.text


@pytest.mark.parametrize(("settings", "dtype"), [
    ({"dtype": "int8"}, "int8_float32"),
    ({"dtype": "float32"}, "float32"),
    ({"model": "tiny:30k-float32.r0"}, "float32"),
])  # fmt: skip
def test_a_type_that_is_asked_for_is_not_measured(store: ModelStore, settings: dict[str, str], dtype: str) -> None:
    assert served(store, **settings).dtype == dtype
    assert kept(store) == []


def test_a_path_to_one_conversion_is_served_as_it_is_stored(store: ModelStore) -> None:
    assert served(store, model=str(store.get(NAME).conversion("int8"))).dtype == "int8_float32"
    assert kept(store) == []


def test_a_way_that_cannot_be_loaded_is_left_out_with_its_reason(
    store: ModelStore, caplog: pytest.LogCaptureFixture
) -> None:
    weights = store.get(NAME).conversion("int8") / "model.bin"
    weights.write_bytes(weights.read_bytes()[:-100])
    caplog.set_level(logging.INFO, "engine")
    assert served(store).dtype == "float32"
    broken, sound = figures(store).timings
    assert (broken.one_us, broken.many_us, broken.turns) == (None, None, 0)
    assert "CTranslate2 cannot load" in broken.left_out
    assert broken.left_out in caplog.text
    assert sound.turns >= 1


def test_where_nothing_can_be_loaded_the_engine_says_why_and_nothing_is_kept(store: ModelStore) -> None:
    for dtype in ("int8", "float32"):
        (store.get(NAME).conversion(dtype) / "model.bin").write_bytes(b"weights, once")
    with pytest.raises(EngineError, match="CTranslate2 cannot load"):
        served(store)
    assert kept(store) == []


def test_what_does_not_fit_is_not_loaded(store: ModelStore) -> None:
    folder = store.get(NAME).conversion("float32")
    fits = Way("float32", "default", "float32", folder, (folder / "model.bin").stat().st_size)
    sound, huge = measure([fits, replace(fits, file_bytes=2**60)], cores=1)
    assert sound.many_us is not None
    assert "of memory" in huge.left_out
    assert not huge.passing, "it will not fit tomorrow either"


def test_when_the_time_is_over_no_further_way_is_loaded(store: ModelStore) -> None:
    folder = store.get(NAME).conversion("float32")
    large = Way("float32", "default", "float32", folder, 65 * 2**20)
    first, second = measure([large, large], cores=1, budget_s=0.0)
    assert (first.turns, second.turns) == (1, 0)
    assert "loading takes about" in second.left_out


def passing_shortage_bytes() -> int:
    """What is too large for the memory that is free now, and not for this machine."""
    free, total = free_memory_bytes(), total_memory_bytes()
    assert free is not None
    assert total is not None
    return (free + total) // 4


def pretend_size(store: ModelStore, dtype: str, size: int) -> None:
    """Without taking any room on the disk."""
    os.truncate(store.get(NAME).conversion(dtype) / "model.bin", size)


def test_figures_made_while_memory_was_short_are_not_kept(store: ModelStore, caplog: pytest.LogCaptureFixture) -> None:
    pretend_size(store, "float32", passing_shortage_bytes())
    found = figures(store)
    assert [timing.passing for timing in found.timings] == [False, True]
    assert found.chosen is not None
    assert found.chosen.dtype == "int8_float32"
    assert kept(store) == []
    assert "these figures are not kept" in caplog.text


def test_what_this_machine_can_never_hold_is_kept(store: ModelStore) -> None:
    total = total_memory_bytes()
    assert total is not None
    pretend_size(store, "float32", total)
    assert "of memory" in figures(store).timings[1].left_out
    assert len(kept(store)) == 1


def test_what_there_was_no_time_for_is_kept(store: ModelStore) -> None:
    pretend_size(store, "float32", 65 * 2**20)
    folder = store.state_dir / "calibration"
    found = calibrated(store.get(NAME), cores=1, folder=folder, budget_s=0.0)
    assert found is not None
    assert "loading takes about" in found.timings[1].left_out
    assert len(kept(store)) == 1


def test_without_proc_auto_measures_one_way_after_another(store: ModelStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "PROCFS_PATH", "/nonexistent")
    assert served(store).dtype in CPU
    if free_memory_bytes() is not None:
        pytest.skip("a container's limit tells here how much is free")
    folder = store.get(NAME).conversion("float32")
    small = Way("float32", "default", "float32", folder, (folder / "model.bin").stat().st_size)
    first, second = measure([small, small], cores=1, budget_s=0.0)
    assert (first.turns, second.turns) == (1, 0)
    assert "loading takes about" in second.left_out, "both were loaded at once"
