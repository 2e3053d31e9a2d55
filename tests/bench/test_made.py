"""Models with random weights: any text encodes, any token decodes, and every engine loads them."""

from pathlib import Path

import pytest

from bench.errors import InvalidOption
from bench.made import SHAPES, make, make_model
from engine import Finished, GenerationRequest, Sampling, Text, convert_folder, load_engine

SMALL = {
    **SHAPES["llama-200m"],
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "vocab_size": 2000,
}


@pytest.mark.parametrize("engine", ["transformers", "ctranslate2"])
async def test_an_engine_samples_from_it(engine: str, tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    made = make_model(SMALL, tmp_path / "hf")
    assert made > 2000 * 32
    folder = tmp_path / "hf"
    if engine == "ctranslate2":
        folder = tmp_path / "ct2-int8"
        convert_folder(tmp_path / "hf", folder, "int8")
    loaded = await load_engine(engine, folder=folder, model_name="made", dtype="auto", device="cpu")
    try:
        sampling = Sampling(max_tokens=5, min_tokens=5)
        request = GenerationRequest(id="r", prompt=Text("def f(é):\n"), n=2, sampling=sampling)
        finished = [event async for event in loaded.generate(request) if isinstance(event, Finished)]
    finally:
        await loaded.aclose()
    assert [event.token_count for event in finished] == [5, 5]


def test_an_unknown_shape_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(InvalidOption, match="random: no shape is called 'cube'; there are llama-200m, starcoder-15b"):
        make("cube", tmp_path)
