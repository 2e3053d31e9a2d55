"""Families of code models, converted and computed by CTranslate2, against transformers: same tokens, same numbers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from engine.convert import ARCHITECTURES, convert_folder
from engine.errors import UnsupportedModel
from tests.engine.checkpoints import CODE, CONFIGS, make_checkpoint, tokenizer

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
ctranslate2 = pytest.importorskip("ctranslate2")

STEPS = 32
NEVER = -1e9


@pytest.fixture(scope="module", params=sorted(CONFIGS))
def family(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    """One family's model, in transformers and in CTranslate2 float32."""
    folder = tmp_path_factory.mktemp(request.param)
    hf = make_checkpoint(folder / "hf", request.param)
    convert_folder(hf, folder / "ct2-float32", "float32")
    generator = ctranslate2.Generator(str(folder / "ct2-float32"), intra_threads=1)
    model = transformers.AutoModelForCausalLM.from_pretrained(str(hf), dtype=torch.float32).eval()
    return model, generator


def _greedy(model: Any, ids: list[int]) -> list[int]:
    for _ in range(STEPS):
        with torch.inference_mode():
            logits = model(torch.tensor([ids])).logits[0, -1]
            logits[0] = NEVER  # no end of text, so that every step is compared
        ids = [*ids, int(logits.argmax())]
    return ids[-STEPS:]


def test_greedy_tokens_are_the_same(family: tuple[Any, Any]) -> None:
    model, generator = family
    ids = tokenizer()("def is_even(number):")["input_ids"]
    prompt = tokenizer().convert_ids_to_tokens(ids)
    result = generator.generate_batch(
        [prompt], max_length=STEPS, min_length=STEPS, sampling_topk=1, include_prompt_in_result=False
    )
    assert result[0].sequences_ids[0] == _greedy(model, ids)


def test_log_probabilities_agree(family: tuple[Any, Any]) -> None:
    model, generator = family
    ids = tokenizer()(CODE[:400])["input_ids"]
    with torch.inference_mode():
        logprobs = torch.log_softmax(model(torch.tensor([ids])).logits[0].float(), -1)
    expected = logprobs[:-1].gather(1, torch.tensor(ids[1:])[:, None])[:, 0].tolist()
    scored = generator.score_batch([tokenizer().convert_ids_to_tokens(ids)])[0].log_probs
    assert scored == pytest.approx(expected, abs=1e-3)


def test_a_bfloat16_checkpoint_with_tied_embeddings_and_padding_agrees_too(tmp_path: Path) -> None:
    """As most models lie on the hub."""
    hf = make_checkpoint(tmp_path / "hf", "Qwen2", dtype="bfloat16", tie_word_embeddings=True, vocab_size=328)
    convert_folder(hf, tmp_path / "ct2-float32", "float32")
    generator = ctranslate2.Generator(str(tmp_path / "ct2-float32"), intra_threads=1)
    model = transformers.AutoModelForCausalLM.from_pretrained(str(hf), dtype=torch.float32).eval()
    test_log_probabilities_agree((model, generator))


def test_every_architecture_that_is_accepted_is_compared() -> None:
    compared = {"GPT2LMHeadModel" if name == "GPT2" else f"{name}ForCausalLM" for name in CONFIGS}
    assert compared == ARCHITECTURES


@pytest.mark.parametrize(
    "architecture",
    ["Starcoder2ForCausalLM", "MixtralForCausalLM", "DeepseekV2ForCausalLM", "Qwen2MoeForCausalLM", "Phi3ForCausalLM"],
)
def test_a_family_without_a_loader_is_refused_by_name_before_any_work(tmp_path: Path, architecture: str) -> None:
    (tmp_path / "hf").mkdir()
    (tmp_path / "hf" / "config.json").write_text(json.dumps({"architectures": [architecture]}))
    with pytest.raises(UnsupportedModel, match=rf"{architecture}.*transformers engine"):
        convert_folder(tmp_path / "hf", tmp_path / "ct2-int8", "int8")
    assert not (tmp_path / "ct2-int8").exists()


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({"architectures": ["GPTBigCodeForCausalLM"], "multi_query": False}, "multi_query"),
        ({"architectures": ["LlamaForCausalLM"], "rope_parameters": {"rope_type": "llama3"}}, "llama3"),
        ({"architectures": ["LlamaForCausalLM"], "rope_scaling": {"type": "yarn"}}, "yarn"),
        ({"architectures": ["LlamaForCausalLM"], "hidden_act": "relu"}, "relu"),
        ({"architectures": ["Qwen2ForCausalLM"], "use_sliding_window": True}, "use_sliding_window"),
        (
            {"architectures": ["Qwen2ForCausalLM"], "hidden_size": 32, "num_attention_heads": 4, "head_dim": 16},
            "head_dim",
        ),
        ({"architectures": ["PhiForCausalLM"], "qk_layernorm": True}, "qk_layernorm"),
        ({"architectures": ["LlamaForCausalLM"], "quantization_config": {"quant_method": "gptq"}}, "gptq"),
    ],
)
def test_a_setting_that_a_loader_passes_over_is_refused(tmp_path: Path, config: dict[str, Any], reason: str) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(UnsupportedModel, match=reason):
        convert_folder(tmp_path, tmp_path / "ct2-int8", "int8")
