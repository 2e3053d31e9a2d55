"""Conversion into a model folder, and what is answered where there is none."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from engine.convert import DTYPES, conversion_of, convert_folder, convert_model
from engine.errors import InvalidModel, ModelNotConverted, UnsupportedDtype
from engine.models import Model, ModelStore
from tests.engine.checkpoints import make_checkpoint

pytest.importorskip("torch")
ctranslate2 = pytest.importorskip("ctranslate2")


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    return ModelStore(tmp_path / "state", bundled_dir=tmp_path / "none")


@pytest.fixture
def model(store: ModelStore) -> Model:
    with store.add(family="tiny", size="30k") as draft:
        make_checkpoint(draft.folder / "hf")
    return store.get(draft.id)


@pytest.mark.parametrize("dtype", DTYPES)
def test_each_dtype_loads_and_needs_no_other_folder(model: Model, store: ModelStore, dtype: str) -> None:
    converted = convert_model(store, model, dtype)
    assert converted.manifest.conversions == (dtype,)
    assert store.verify(store.get(model.id)) == ()
    folder = conversion_of(converted, dtype)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        assert (folder / name).read_bytes() == (model.hf / name).read_bytes()
    generator = ctranslate2.Generator(str(folder), intra_threads=1)
    assert generator.generate_batch([["def"]], max_length=2, sampling_topk=1)[0].sequences_ids[0]


def test_a_missing_conversion_is_answered_with_the_command(model: Model) -> None:
    with pytest.raises(ModelNotConverted, match=r"touchstone models convert tiny-30k.r0 --dtype int8$"):
        conversion_of(model, "int8")


def test_an_unknown_dtype_lists_the_known(model: Model, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedDtype, match=r"'int3'.*int8_float16"):
        convert_folder(model.hf, tmp_path / "out", "int3")


def test_a_folder_without_weights_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidModel, match=r"config.json"):
        convert_folder(tmp_path, tmp_path / "out", "int8")


def test_a_broken_conversion_leaves_the_model_as_it_was(model: Model, store: ModelStore) -> None:
    (model.hf / "model.safetensors").write_bytes(b"not safetensors")
    with pytest.raises(InvalidModel, match="weights"):
        convert_model(store, model, "int8")
    assert sorted(path.name for path in model.folder.iterdir()) == ["hf", "manifest.json"]


def test_without_torch_the_answer_names_the_extra(model: Model, tmp_path: Path) -> None:
    script = (
        "import sys; sys.modules['torch'] = None\n"
        "from pathlib import Path\n"
        "from engine.convert import convert_folder\n"
        "from engine.errors import MissingExtra\n"
        "try: convert_folder(Path(sys.argv[1]), Path(sys.argv[2]), 'int8')\n"
        "except MissingExtra as error: print(error)\n"
    )
    command = [sys.executable, "-c", script, str(model.hf), str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "pip install 'touchstone[transformers]'" in done.stdout
