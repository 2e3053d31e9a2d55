"""The cpu engine on small made models: the contract, and its numbers against those of transformers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engine.types import Finished, GenerationRequest, Prompt, Sampling, Text, TokenIds
from tests.contracts.engine import EngineCase, EngineContract, collect, finished
from tests.engine.checkpoints import CODE, make_checkpoint

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from engine.cpu import CpuEngine, load  # noqa: E402 - after the skip

PROMPT = Text("def is_even(number):")
LONG = Text(CODE[:300])
FAMILIES: dict[str, dict[str, Any]] = {
    "Llama": {},
    "Mistral": {},
    "Qwen2": {"tie_word_embeddings": True, "vocab_size": 328, "eos_token_id": 327},
    "GPTBigCode": {},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that never ends by itself within the contract's lengths, with padding after the vocabulary."""
    return make_checkpoint(tmp_path_factory.mktemp("cpu-engine") / "hf", "Qwen2", vocab_size=328, eos_token_id=327)


@pytest.fixture
async def engine(folder: Path) -> AsyncIterator[CpuEngine]:
    engine = await load(folder=folder, threads=1)
    yield engine
    await engine.aclose()


class TestContract(EngineContract):
    @pytest.fixture
    async def case(self, engine: CpuEngine) -> EngineCase:
        return EngineCase(
            engine=engine,
            prompt=PROMPT,
            too_long=TokenIds((5,) * 256),
            running=lambda: engine.stats().requests_running,
            score_tolerance=1e-4,
        )


async def generate(engine: CpuEngine, prompt: Prompt = PROMPT, n: int = 1, **sampling: Any) -> list[Finished]:
    fields: dict[str, Any] = {"temperature": 0.0, "max_tokens": 16} | sampling
    request = GenerationRequest(id="r", prompt=prompt, sampling=replace(Sampling(), **fields), n=n)
    return finished(await collect(engine, request))


def ids_of(end: Finished) -> list[int]:
    return [token.id for token in end.tokens]


@pytest.mark.parametrize("family", sorted(FAMILIES))
@pytest.mark.parametrize("n", [1, 3])
async def test_float32_equals_transformers(tmp_path: Path, family: str, n: int) -> None:
    folder = make_checkpoint(tmp_path / "hf", family, **FAMILIES[family])
    model = transformers.AutoModelForCausalLM.from_pretrained(str(folder), dtype=torch.float32).eval()
    engine = await load(folder=folder, threads=1, dtype="float32")
    prompt = engine.tokenizer.encode_prompt(LONG)
    padding = list(range(320, 328)) if "vocab_size" in FAMILIES[family] else []
    own = model.generate(
        torch.tensor([prompt]), max_new_tokens=70, do_sample=False, suppress_tokens=[0, *padding], eos_token_id=None
    )
    for end in await generate(engine, LONG, n, max_tokens=70, logit_bias=((0, -1000.0),)):
        assert ids_of(end) == own[0, len(prompt) :].tolist()
    for end in await generate(engine, LONG, n, max_tokens=70, temperature=1.0, logprobs=5, logit_bias=((0, -1000.0),)):
        with torch.inference_mode():
            expected = model(torch.tensor([prompt + ids_of(end)])).logits[0].float().log_softmax(-1)
        for at, token in enumerate(end.tokens):
            row = expected[len(prompt) - 1 + at]
            assert token.logprob == pytest.approx(float(row[token.id]), abs=1e-4)
            assert [value for _, value in token.top] == pytest.approx(row[:320].topk(5).values.tolist(), abs=1e-4)
    await engine.aclose()
