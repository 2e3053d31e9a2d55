"""The cpu engine on small made models: the contract, and its numbers against those of transformers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from engine.errors import ModelNotFound, UnsupportedDtype, UnsupportedField, UnsupportedModel
from engine.types import Finished, GenerationRequest, Priority, Prompt, Sampling, Text, TokenIds
from tests.contracts.engine import EngineCase, EngineContract, collect, finished
from tests.engine.checkpoints import CODE, make_checkpoint

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from engine.cpu import CpuEngine, load  # noqa: E402 - after the skip
from engine.cpu.engine import MAX_ROWS, WAVE  # noqa: E402
from engine.cpu.linears import ForFew, Int8, Packed, Plain, probe  # noqa: E402

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


async def test_a_seed_gives_the_same_whatever_else_runs(engine: CpuEngine) -> None:
    alone = await generate(engine, n=3, temperature=1.0, seed=11)
    others = [generate(engine, LONG, n=n, temperature=1.0, max_tokens=10 + n) for n in (1, 2, 5)]
    again, *_ = await asyncio.gather(generate(engine, n=3, temperature=1.0, seed=11), *others)
    assert [ids_of(end) for end in again] == [ids_of(end) for end in alone]
    assert len({end.text for end in alone}) == 3
    assert max(rows for rows, _ in engine.stats().calls_by_rows) > 5, "requests decoded together"
    shorter = await generate(engine, temperature=1.0, seed=11)
    assert shorter[0].text == alone[0].text, "a candidate's draws do not depend on how many there are"


async def test_more_candidates_than_a_wave_share_the_prompt(engine: CpuEngine) -> None:
    ends = await generate(engine, n=WAVE + 8, temperature=1.0, seed=3, max_tokens=6)
    assert len(ends) == WAVE + 8
    assert max(rows for rows, _ in engine.stats().calls_by_rows) == WAVE
    few = await generate(engine, n=2, temperature=1.0, seed=3, max_tokens=6)
    assert [end.text for end in few] == [end.text for end in ends[:2]]


async def test_rows_that_end_leave_the_others_as_they_are(engine: CpuEngine) -> None:
    """Stop strings end the candidates one by one; what is left goes on as if they were still there."""
    whole = await generate(engine, n=12, temperature=1.0, seed=5, max_tokens=80)
    cut = await generate(engine, n=12, temperature=1.0, seed=5, max_tokens=80, stop=("a", "e"))
    assert len({end.token_count for end in cut}) > 3
    for full, end in zip(whole, cut, strict=True):
        assert full.text.startswith(end.text)
        assert (end.finish_reason == "stop") == any(letter in full.text for letter in "ae")


async def test_as_you_type_goes_first_though_all_rows_are_taken(engine: CpuEngine) -> None:
    def ask(priority: Priority, n: int, tokens: int) -> GenerationRequest:
        sampling = Sampling(max_tokens=tokens, min_tokens=tokens, temperature=1.0)
        return GenerationRequest(id="r", prompt=PROMPT, sampling=sampling, n=n, priority=priority)

    order: list[str] = []

    async def run(name: str, request: GenerationRequest) -> None:
        await collect(engine, request)
        order.append(name)

    busy = [asyncio.create_task(run("busy", ask(Priority.INTERACTIVE, WAVE, 40))) for _ in range(2)]
    while engine.stats().rows_running < MAX_ROWS:  # noqa: ASYNC110
        await asyncio.sleep(0)
    waiting = asyncio.create_task(run("waiting", ask(Priority.INTERACTIVE, 1, 1)))
    await asyncio.sleep(0)
    await run("typed", ask(Priority.AS_YOU_TYPE, 1, 8))
    await asyncio.gather(waiting, *busy)
    assert order[0] == "typed"
    assert "busy" in order[: order.index("waiting")]


async def test_bfloat16_is_no_further_from_float32_than_transformers_own(tmp_path: Path) -> None:
    for family in ("Llama", "GPTBigCode"):
        folder = make_checkpoint(tmp_path / family / "hf", family, dtype="bfloat16", initializer_range=0.15)
        load_hf = transformers.AutoModelForCausalLM.from_pretrained
        exact, own = (load_hf(str(folder), dtype=getattr(torch, name)).eval() for name in ("float32", "bfloat16"))
        engine = await load(folder=folder, threads=1, dtype="bfloat16")
        assert engine.info.dtype == "bfloat16"
        prompt = engine.tokenizer.encode_prompt(LONG)
        ours: list[float] = []
        theirs: list[float] = []
        for end in await generate(engine, LONG, 8, temperature=1.0, max_tokens=40, seed=1):
            ids = torch.tensor([prompt + ids_of(end)])
            with torch.inference_mode():
                rows, rounded = (
                    model(ids).logits[0, len(prompt) - 1 : -1].float().log_softmax(-1) for model in (exact, own)
                )
            for at, token in enumerate(end.tokens):
                ours.append(abs(token.logprob - float(rows[at, token.id])))
                theirs.append(abs(float(rounded[at, token.id] - rows[at, token.id])))
        await engine.aclose()
        assert sum(ours) <= 1.2 * sum(theirs), family


async def test_int8_is_served_where_the_model_stays_the_same(tmp_path: Path) -> None:
    gentle = make_checkpoint(tmp_path / "gentle" / "hf", initializer_range=0.1)
    harsh = make_checkpoint(tmp_path / "harsh" / "hf", initializer_range=1.0)
    try:
        engine = await load(folder=gentle, threads=1, dtype="int8")
    except UnsupportedDtype as refusal:
        assert "none is right and fast" in str(refusal)  # noqa: PT017 - which way it goes depends on the host
    else:
        exact = await load(folder=gentle, threads=1, dtype="float32")
        ours, theirs = [(await each.score(LONG, [" return number"]))[0].tokens for each in (engine, exact)]
        for rounded, token in zip(ours, theirs, strict=True):
            assert rounded.logprob == pytest.approx(token.logprob, abs=0.2)
        assert "nats a token" in engine.note
        await engine.aclose()
        await exact.aclose()
    with pytest.raises(UnsupportedDtype, match=r"nats a token|right and fast"):
        await load(folder=harsh, threads=1, dtype="int8")


@pytest.mark.parametrize(
    ("family", "changes", "reason"),
    [
        ("Phi", {}, "PhiForCausalLM"),
        ("Qwen3", {}, "Qwen3ForCausalLM"),
        ("GPTBigCode", {"multi_query": False}, "multi_query"),
        ("Llama", {"rope_parameters": {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4}}, "dynamic"),
    ],
)
async def test_others_are_refused_by_name(tmp_path: Path, family: str, changes: dict[str, Any], reason: str) -> None:
    folder = make_checkpoint(tmp_path / "hf", family, **changes)
    with pytest.raises(UnsupportedModel, match=rf"{reason}.*the transformers engine can"):
        await load(folder=folder)


async def test_a_sliding_window_bounds_the_context(tmp_path: Path) -> None:
    engine = await load(folder=make_checkpoint(tmp_path / "hf", "Mistral", sliding_window=64), threads=1)
    assert engine.info.context_length == 64
    await engine.aclose()


async def test_what_cannot_be_loaded_is_said(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(ModelNotFound, match=r"config.json"):
        await load(folder=tmp_path)
    with pytest.raises(UnsupportedDtype, match=r"'float16'.*float32, bfloat16, int8"):
        await load(folder=folder, dtype="float16")
    with pytest.raises(UnsupportedField, match="device"):
        await load(folder=folder, device="cuda")


@pytest.mark.parametrize("name", ["float32", "bfloat16"])
def test_packed_weights_give_a_row_the_same_whatever_the_others(name: str) -> None:
    dtype = getattr(torch, name)
    weight = torch.randn(96, 64, generator=torch.Generator().manual_seed(1)).to(dtype)
    make, note = probe(name, weight)
    assert note
    try:
        packed = Packed(weight, None)
    except RuntimeError:
        assert make is None, "what cannot be used is not chosen"
        return
    x = torch.randn(40, 64, generator=torch.Generator().manual_seed(2)).to(dtype)
    together = packed(x)
    assert all(torch.equal(packed(x[:rows]), together[:rows]) for rows in (1, 2, 3, 5, 16, 33))
    assert torch.allclose(
        packed(x, together), 2 * Plain(weight, None)(x), atol=1e-1 if dtype == torch.bfloat16 else 1e-5
    )


@pytest.mark.parametrize("rows", [1, 2, 7, 8, 9])
def test_weights_of_16_bits_round_nothing(rows: int) -> None:
    weight = torch.randn(96, 64, generator=torch.Generator().manual_seed(1)).mul_(1e-6).bfloat16().float()
    x = torch.randn(rows, 64, generator=torch.Generator().manual_seed(2))
    residual, bias = torch.full((rows, 96), 1e-6), torch.full((96,), 2e-6)
    expected = x.double() @ weight.double().T + bias + residual
    assert torch.allclose(ForFew(weight, bias)(x, residual).double(), expected, rtol=1e-5, atol=1e-11)
    assert torch.allclose(ForFew(weight, None)(x).double(), expected - bias - residual, rtol=1e-5, atol=1e-11)


async def test_a_model_in_16_bits_is_computed_in_32_as_it_is(tmp_path: Path) -> None:
    folder = make_checkpoint(tmp_path / "hf", dtype="bfloat16")
    model = transformers.AutoModelForCausalLM.from_pretrained(str(folder), dtype=torch.float32).eval()
    engine = await load(folder=folder, threads=1, dtype="float32")
    prompt = engine.tokenizer.encode_prompt(LONG)
    for n in (1, 12):
        for end in await generate(engine, LONG, n, max_tokens=20, temperature=1.0, seed=1):
            with torch.inference_mode():
                expected = model(torch.tensor([prompt + ids_of(end)])).logits[0].log_softmax(-1)
            for at, token in enumerate(end.tokens):
                assert token.logprob == pytest.approx(float(expected[len(prompt) - 1 + at, token.id]), abs=1e-4)
    await engine.aclose()


def test_eight_bits_never_overflow() -> None:
    weight = torch.full((32, 256), 1.0)
    weight[1::2] = -1.0
    make, note = probe("int8", weight)
    if make is None:
        assert "none is right and fast" in note
        make = partial(Int8, half=63)
    x = torch.randn(16, 256, generator=torch.Generator().manual_seed(2)) + 3.0
    expected, residual = x @ weight.T, torch.ones(16, 32)
    ours = make(weight, torch.ones(32))(x, residual)
    assert torch.allclose(ours, expected + 2.0, rtol=0.02)
