"""Both layouts against each other and against one response at a time, for several families of models."""

from random import Random
from typing import Any

import pytest
import torch
import transformers

from trainer import LayoutUnfit
from trainer.layout import Tokens, choose_layout, packed, plain, without_dropout
from trainer.layout.attention import NAME, register

pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")  # importing GPTBigCode

transformers_: Any = transformers
SIZES: dict[str, Any] = {"vocab_size": 97, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 2}
LLAMA = {
    **SIZES,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
}
BIGCODE = {**SIZES, "n_positions": 128, "n_embd": 32, "n_layer": 2, "n_head": 4}
FAMILIES = {
    "llama": ("Llama", LLAMA),
    "qwen2": ("Qwen2", LLAMA),
    "bigcode": ("GPTBigCode", {**BIGCODE, "multi_query": True}),
    "bigcode, a key head each": ("GPTBigCode", {**BIGCODE, "multi_query": False}),
    "starcoder2": ("Starcoder2", {**LLAMA, "sliding_window": None}),
    "mistral, windows": ("Mistral", {**LLAMA, "sliding_window": 6, "head_dim": 8}),
    "mistral, none": ("Mistral", {**LLAMA, "sliding_window": None, "head_dim": 8}),
    "granite": ("Granite", {**LLAMA, "logits_scaling": 3.0}),
}


def made(family: str) -> Any:
    name, sizes = FAMILIES[family]
    torch.manual_seed(0)
    config = getattr(transformers_, f"{name}Config")(**sizes)
    model = getattr(transformers_, f"{name}ForCausalLM")(config).train()
    without_dropout(model)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)  # attention that is not nearly uniform
    return model


def drawn(seed: int, groups: int = 3) -> list[Tokens]:
    random = Random(seed)

    def ids(least: int, most: int) -> tuple[int, ...]:
        return tuple(random.randrange(3, 97) for _ in range(random.randint(least, most)))

    return [Tokens(ids(1, 14), tuple(ids(1, 9) for _ in range(random.randint(1, 4)))) for _ in range(groups)]


def one_by_one(model: Any, group: Tokens) -> list[torch.Tensor]:
    found = []
    for response in group.responses:
        logits = model(input_ids=torch.tensor([group.prompt + response]), use_cache=False).logits[0]
        each = logits.log_softmax(-1)[len(group.prompt) - 1 : -1]
        found.append(each.gather(-1, torch.tensor(response)[:, None])[:, 0])
    return found


@pytest.mark.parametrize(
    ("family", "checkpointing"), [*((family, False) for family in FAMILIES), ("llama", True), ("bigcode", True)]
)
def test_both_layouts_are_right(family: str, checkpointing: bool) -> None:
    model, groups = made(family), drawn(1)
    expected = [one_by_one(model, group) for group in groups]
    choice = choose_layout(model, groups)
    assert choice.name == "packed", choice.reason
    if checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    gradients = []
    for layout in (plain, packed):
        found = layout(model, groups)
        assert found.values.shape == found.mask.shape == (3, max(len(g.responses) for g in groups), 9)
        for row, group in enumerate(expected):
            for place, values in enumerate(group):
                real = found.mask[row, place]
                assert int(real.sum()) == len(values)
                torch.testing.assert_close(found.values[row, place][real], values, rtol=1e-5, atol=1e-5)
        assert int(found.mask.sum()) == sum(len(values) for group in expected for values in group)
        model.zero_grad()
        torch.autograd.backward((found.values * torch.linspace(0.5, 1, 9)).sum())
        gradients.append(torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]))
    assert float((gradients[0] - gradients[1]).norm() / gradients[0].norm()) < 1e-5


def test_groups_in_one_row_do_not_see_each_other() -> None:
    model, groups = made("llama"), drawn(2)
    assert choose_layout(model, groups).name == "packed"
    alone = packed(model, groups[:1])
    together = packed(model, groups)
    torch.testing.assert_close(together.values[0][together.mask[0]], alone.values[0][alone.mask[0]])


def test_what_is_not_known_falls_back_and_says_why() -> None:
    """Gemma 2 caps its attention's logits, which this attention does not do."""
    name, sizes = "Gemma2", {**LLAMA, "head_dim": 8, "attn_logit_softcapping": 5.0}
    model = getattr(transformers_, f"{name}ForCausalLM")(getattr(transformers_, f"{name}Config")(**sizes))
    without_dropout(model)
    choice = choose_layout(model, drawn(3))
    assert choice.name == "plain"
    assert "softcap" in choice.reason
    assert model.config._attn_implementation != NAME
    with pytest.raises(LayoutUnfit, match="layout: packed would be wrong for Gemma2ForCausalLM"):
        choose_layout(model, drawn(3), "packed")


def test_a_model_that_goes_wrong_is_found_out() -> None:
    """With dropout left on, as GPTBigCode's attention has it, no two passes agree."""
    model = made("bigcode")
    for block in model.transformer.h:
        block.attn.attn_dropout = 0.1
    choice = choose_layout(model, drawn(3))
    assert choice.name == "plain"
    assert "differ" in choice.reason


def test_layers_without_an_attention_function_fall_back() -> None:
    sizes = {**SIZES, "hidden_size": 32, "num_hidden_layers": 1, "state_size": 4}
    model = transformers_.MambaForCausalLM(transformers_.MambaConfig(**sizes))
    assert choose_layout(model, drawn(3)).name == "plain"


def test_with_lora() -> None:
    import peft

    model, groups = made("qwen2"), drawn(4)
    wrapped: Any = peft.get_peft_model(
        model, peft.LoraConfig(r=2, target_modules="all-linear", task_type="CAUSAL_LM", init_lora_weights=False)
    )
    choice = choose_layout(wrapped, groups)
    assert choice.name == "packed", choice.reason
    torch.testing.assert_close(plain(wrapped, groups).values, packed(wrapped, groups).values, rtol=1e-5, atol=1e-5)


def test_bfloat16_by_autocast() -> None:
    model, groups = made("llama"), drawn(5)
    assert choose_layout(model, groups).name == "packed"
    with torch.autocast("cpu", torch.bfloat16):
        found = [layout(model, groups).values for layout in (plain, packed)]
    assert found[0].dtype == torch.float32
    torch.testing.assert_close(found[0], found[1], rtol=0.05, atol=0.05)


def test_dropout_is_off_everywhere() -> None:
    config = transformers_.GPTBigCodeConfig(**BIGCODE)
    model = transformers_.GPTBigCodeForCausalLM(config)
    assert model.transformer.h[0].attn.attn_dropout == 0.1
    without_dropout(model)
    assert model.transformer.h[0].attn.attn_dropout == 0.0
    assert model.transformer.drop.p == 0.0
    assert model.config.attn_pdrop == 0.1, "the model's own configuration stays"
    register()
