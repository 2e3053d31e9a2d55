"""From configuration to an engine: which folder, which conversion, which name, and what is said where it cannot be."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from engine import (
    Engine,
    EngineConfig,
    GenerationRequest,
    InvalidModel,
    Model,
    ModelNotConverted,
    ModelNotFound,
    ModelStore,
    Sampling,
    Text,
    UnsupportedModel,
    build_engine,
    convert_model,
)
from tests.contracts.engine import collect, finished
from tests.engine.checkpoints import make_checkpoint

pytest.importorskip("torch")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ModelStore:
    """One model with two conversions, one without, one that CTranslate2 cannot have."""
    folder = tmp_path_factory.mktemp("build")
    store = ModelStore(folder / "state", bundled_dir=folder / "none")
    for family in ("tiny", "plain"):
        with store.add(family=family, size="30k", round=2) as draft:
            make_checkpoint(draft.folder / "hf")
    for dtype in ("int8", "float32"):
        convert_model(store, store.get("tiny-30k.r2"), dtype)
    with store.add(family="moe", size="8x7b") as draft:
        (draft.folder / "hf").mkdir()
        (draft.folder / "hf" / "config.json").write_text(json.dumps({"architectures": ["MixtralForCausalLM"]}))
    store.set_champion(None, "tiny-30k.r2")
    return store


async def first_words(engine: Engine) -> str:
    sampling = replace(Sampling(), temperature=0.0, max_tokens=5)
    try:
        return finished(await collect(engine, GenerationRequest(id="r", prompt=Text("def"), sampling=sampling)))[0].text
    finally:
        await engine.aclose()


@pytest.mark.parametrize(
    ("config", "name"),
    [
        ({"dtype": "int8"}, "tiny:30k-int8.r2"),
        ({"model": "tiny-30k.r2", "dtype": "float32"}, "tiny:30k-float32.r2"),
        ({"model": "tiny:30k-float32.r2"}, "tiny:30k-float32.r2"),
        ({"type": "transformers", "threads": 1}, "tiny:30k-float32.r2"),
        ({"type": "transformers", "model": "plain:30k", "dtype": "bfloat16"}, "plain:30k-bfloat16.r2"),
    ],
)
async def test_a_model_is_found_loaded_and_named(store: ModelStore, config: dict[str, Any], name: str) -> None:
    engine = await build_engine(EngineConfig.model_validate({"device": "cpu", "threads": 1} | config), store)
    assert engine.info.model == name
    await first_words(engine)


async def test_both_engines_read_a_path_and_agree(store: ModelStore) -> None:
    folder = store.get("tiny-30k.r2").folder
    whole = await build_engine(EngineConfig(model=str(folder), dtype="float32", device="cpu", threads=1), store)
    bare = await build_engine(EngineConfig(model=f"file:{folder / 'ct2-float32'}", device="cpu", threads=1), store)
    reference = await build_engine(
        EngineConfig(type="transformers", model=str(folder / "hf"), device="cpu", threads=1), store
    )
    assert (whole.info.model, bare.info.model) == ("tiny:30k-float32.r2", "ct2-float32")
    texts = [await first_words(engine) for engine in (whole, bare, reference)]
    assert len(set(texts)) == 1


@pytest.mark.parametrize(
    ("config", "error", "message"),
    [
        ({"model": "plain-30k.r2"}, ModelNotConverted, r"touchstone models convert plain-30k.r2 --dtype int8$"),
        ({"dtype": "float16"}, ModelNotConverted, r"conversions: float32, int8.*--dtype float16$"),
        ({"model": "moe-8x7b.r0"}, UnsupportedModel, "MixtralForCausalLM; the transformers engine"),
        ({"model": "nothing"}, ModelNotFound, r"no model 'nothing'; known: .*tiny-30k.r2"),
        ({"model": "tiny:30k-int8.r2", "dtype": "float32"}, InvalidModel, "dtype: 'float32', but"),
    ],
)
async def test_what_cannot_be_served_is_told(
    store: ModelStore, config: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        await build_engine(EngineConfig.model_validate({"device": "cpu"} | config), store)


async def test_an_empty_store_says_how_to_get_a_model(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound, match="touchstone models pull"):
        await build_engine(EngineConfig(), ModelStore(tmp_path, bundled_dir=tmp_path / "none"))


async def test_the_scripted_engine_reads_its_script(tmp_path: Path) -> None:
    script = tmp_path / "script.json"
    script.write_text(json.dumps({"def": [" f(): pass"]}))
    engine = await build_engine(EngineConfig(type="scripted", script=script), ModelStore(tmp_path))
    assert await first_words(engine) == " f():"


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"type": "onnx"}, "no engine is called 'onnx'; there are ctranslate2"),
        ({"type": "openai"}, "upstream.base_url"),
        ({"type": "scripted"}, "script is needed"),
        ({"modle": "x"}, "modle"),
        ({"threads": 0}, "threads"),
    ],
)
def test_a_faulty_setting_is_named(config: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        EngineConfig.model_validate(config)


def test_the_key_is_never_shown() -> None:
    config = EngineConfig.model_validate(
        {"type": "openai", "upstream": {"base_url": "http://localhost:1/v1", "api_key": "sk-hidden"}}
    )
    assert "sk-hidden" not in f"{config!r} {config.model_dump_json()}"


def test_a_models_parts_have_one_place(store: ModelStore) -> None:
    model: Model = store.get("tiny-30k.r2")
    assert model.hf == model.folder / "hf"
    assert model.conversion("int8") == model.folder / "ct2-int8"


def test_importing_the_door_loads_nothing_heavy() -> None:
    heavy = "torch transformers ctranslate2 httpx tokenizers jinja2 huggingface_hub typer"
    script = f"import sys, engine; print([name for name in {heavy.split()} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
