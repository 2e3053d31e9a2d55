"""What tells the weights of two engines apart, where their names do not."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from engine import EngineConfig, Model, ModelStore, build_engine
from engine.models import read_manifest
from engine.weights import weights_of

Copy = Callable[[str], Model]


@pytest.fixture
def bundled(tmp_path: Path) -> Model:
    champion = ModelStore(tmp_path / "state").champion()
    assert champion is not None
    return champion


@pytest.fixture
def copy(bundled: Model, tmp_path: Path) -> Copy:
    def copied(name: str) -> Model:
        folder = tmp_path / name
        shutil.copytree(bundled.folder, folder)
        manifest = json.loads((folder / "manifest.json").read_text())
        (folder / "manifest.json").write_text(json.dumps(manifest | {"id": name}))
        return Model(folder, read_manifest(folder))

    return copied


def test_they_are_the_id_and_the_manifests_hash(bundled: Model) -> None:
    known = bundled.manifest.checksums["ct2-int8/model.bin"]
    assert weights_of(bundled.conversion("int8"), bundled) == f"{bundled.manifest.id} {known[:19]}"


def test_without_a_manifest_they_are_the_folders_name_and_the_files_hash(copy: Copy, bundled: Model) -> None:
    folder = copy("mine").conversion("int8")
    known = bundled.manifest.checksums["ct2-int8/model.bin"]
    assert weights_of(folder, None) == f"ct2-int8 {known[:19]}"
    with (folder / "model.bin").open("ab") as file:
        file.write(b"\0")
    assert not weights_of(folder, None).endswith(known[:19])


def test_a_checkpoint_is_hashed_over_all_its_parts(tmp_path: Path) -> None:
    assert weights_of(tmp_path, None) == ""
    found = set()
    for part in ("1", "2"):
        (tmp_path / f"model-{part}.safetensors").write_bytes(part.encode())
        found.add(weights_of(tmp_path, None))
    (tmp_path / "model-1.safetensors").write_bytes(b"3")
    assert len(found | {weights_of(tmp_path, None)}) == 3


async def test_two_checkpoints_of_one_name_are_told_apart(copy: Copy, tmp_path: Path) -> None:
    infos = []
    for name in ("step-000100", "step-000900"):
        config = EngineConfig(model=str(copy(name).folder), dtype="int8", threads=1)
        engine = await build_engine(config, ModelStore(tmp_path / "state"))
        infos.append(engine.info)
        await engine.aclose()
    assert infos[0].model == infos[1].model
    assert [info.weights.split()[0] for info in infos] == ["step-000100", "step-000900"]
