"""The reference engine on a small made model: the contract, and each sampling field against its definition."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from engine.errors import ModelNotFound, UnsupportedDtype, UnsupportedField
from engine.types import Chat, Fim, Finished, GenerationRequest, Message, Prompt, Sampling, Text, TokenIds
from tests.contracts.engine import EngineCase, EngineContract, collect, finished
from tests.engine.checkpoints import CODE, make_checkpoint

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from engine.hf import TransformersEngine, load  # noqa: E402 - after the skip
from engine.hf.sampling import Sampler  # noqa: E402

PROMPT = Text("def is_even(number):")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that never ends by itself within the contract's lengths, with padding after the vocabulary."""
    return make_checkpoint(tmp_path_factory.mktemp("hf-engine") / "hf", "Qwen2", vocab_size=328, eos_token_id=327)


@pytest.fixture
async def engine(folder: Path) -> AsyncIterator[TransformersEngine]:
    engine = await load(folder=folder, threads=1)
    yield engine
    await engine.aclose()


class TestContract(EngineContract):
    @pytest.fixture
    async def case(self, engine: TransformersEngine) -> EngineCase:
        return EngineCase(
            engine=engine,
            prompt=PROMPT,
            too_long=TokenIds((5,) * 256),
            running=lambda: engine.stats().requests_running,
            score_tolerance=1e-4,
        )


async def generate(engine: TransformersEngine, prompt: Prompt = PROMPT, n: int = 1, **sampling: Any) -> list[Finished]:
    fields: dict[str, Any] = {"temperature": 0.0, "max_tokens": 16} | sampling
    request = GenerationRequest(id="r", prompt=prompt, sampling=replace(Sampling(), **fields), n=n)
    return finished(await collect(engine, request))


def ids_of(end: Finished) -> list[int]:
    return [token.id for token in end.tokens]


async def test_greedy_equals_transformers_own_generate(engine: TransformersEngine, folder: Path) -> None:
    model = transformers.AutoModelForCausalLM.from_pretrained(str(folder), dtype=torch.float32).eval()
    prompt = engine.tokenizer.encode_prompt(PROMPT)
    padding = list(range(320, 328))
    own = model.generate(torch.tensor([prompt]), max_new_tokens=40, do_sample=False, suppress_tokens=padding)
    end = (await generate(engine, max_tokens=40, logit_bias=((0, -1000.0),)))[0]
    assert ids_of(end) == own[0, len(prompt) :].tolist()


async def test_log_probabilities_are_those_of_temperature_one(engine: TransformersEngine, folder: Path) -> None:
    model = transformers.AutoModelForCausalLM.from_pretrained(str(folder), dtype=torch.float32).eval()
    prompt = engine.tokenizer.encode_prompt(PROMPT)
    for end in await generate(engine, n=3, temperature=0.3, top_k=4, top_p=0.9, logprobs=5, presence_penalty=1.0):
        with torch.inference_mode():
            expected = model(torch.tensor([prompt + ids_of(end)])).logits[0].float().log_softmax(-1)
        for at, token in enumerate(end.tokens):
            row = expected[len(prompt) - 1 + at]
            assert token.logprob == pytest.approx(float(row[token.id]), abs=1e-4)
            assert [value for _, value in token.top] == pytest.approx(row[:320].topk(5).values.tolist(), abs=1e-4)


async def test_a_seed_repeats_itself_whatever_else_runs(engine: TransformersEngine) -> None:
    alone = await generate(engine, n=3, temperature=1.0, seed=11)
    again, _ = await asyncio.gather(
        generate(engine, n=3, temperature=1.0, seed=11), generate(engine, n=2, temperature=1.0)
    )
    assert [end.text for end in again] == [end.text for end in alone]
    assert len({end.text for end in alone}) == 3
    assert [end.text for end in await generate(engine, n=3, temperature=1.0, seed=12)] != [end.text for end in alone]
    shorter = await generate(engine, n=1, temperature=1.0, seed=11)
    assert shorter[0].text == alone[0].text, "a candidate's draws do not depend on how many there are"


async def test_top_k_one_and_a_tiny_top_p_are_greedy(engine: TransformersEngine) -> None:
    greedy = (await generate(engine))[0].text
    assert (await generate(engine, temperature=1.0, top_k=1))[0].text == greedy
    assert (await generate(engine, temperature=1.0, top_p=1e-6))[0].text == greedy


@pytest.mark.parametrize(
    ("sampling", "expected"),
    [
        (Sampling(), [0.5, 0.25, 0.15, 0.1]),
        (Sampling(temperature=0.5), [0.25 / 0.345, 0.0625 / 0.345, 0.0225 / 0.345, 0.01 / 0.345]),
        (Sampling(top_k=2), [2 / 3, 1 / 3, 0, 0]),
        (Sampling(top_p=0.76), [0.5 / 0.9, 0.25 / 0.9, 0.15 / 0.9, 0]),
        (Sampling(temperature=0.5, top_k=3, top_p=0.9), [0.8, 0.2, 0, 0]),
    ],
)
def test_draws_follow_the_distribution(sampling: Sampling, expected: list[float]) -> None:
    draws = 4000
    sampler = Sampler(replace(sampling, seed=5), [0], range(draws), end_ids=[], known_ids=4)
    logits = torch.tensor([0.5, 0.25, 0.15, 0.1, 9.0]).log().repeat(draws, 1)
    drawn = sampler.draw(logits, [(candidate, []) for candidate in range(draws)])
    for token, share in enumerate(expected):
        assert drawn.count(token) / draws == pytest.approx(share, abs=4 * math.sqrt(share * (1 - share) / draws) + 1e-9)


@pytest.mark.parametrize(("top_p", "flat"), [(1.0, 0.0), (0.9, 0.0), (0.9, 3.0), (0.3, 0.0)])
def test_draws_from_a_large_vocabulary_are_those_of_its_nucleus(top_p: float, flat: float) -> None:
    """With many tokens in the nucleus and with few: both ways give its distribution, and nothing beyond it."""
    draws, tokens = 2000, 700
    logits = torch.randn(tokens, generator=torch.Generator().manual_seed(1)) * flat
    sampler = Sampler(Sampling(top_p=top_p, seed=3), [0], range(draws), end_ids=[], known_ids=tokens)
    ordered, order = logits.softmax(-1).sort(descending=True)
    likelier = torch.tensor([float(ordered[ordered > value].sum()) for value in ordered])
    kept = ordered * (likelier < top_p)
    drawn = torch.tensor(sampler.draw(logits.repeat(draws, 1), [(candidate, []) for candidate in range(draws)]))
    assert set(drawn.tolist()) <= set(order[kept > 0].tolist())
    place = torch.empty(tokens, dtype=torch.long).scatter_(0, order, torch.arange(tokens))[drawn]
    expected = kept / kept.sum()
    for part in torch.arange(tokens).chunk(5):
        share = float(expected[part].sum())
        found = float(torch.isin(place, part).float().mean())
        assert found == pytest.approx(share, abs=4 * math.sqrt(share * (1 - share) / draws) + 1e-9)


async def test_bias_bans_and_forces_tokens(engine: TransformersEngine) -> None:
    greedy = ids_of((await generate(engine))[0])
    banned = ids_of((await generate(engine, logit_bias=((greedy[0], -100.0),)))[0])
    assert greedy[0] not in banned
    forced = ids_of((await generate(engine, logit_bias=((70, 100.0),)))[0])
    assert set(forced) == {70}
    with pytest.raises(UnsupportedField, match="logit_bias: token ids go from 0 to 327"):
        await generate(engine, logit_bias=((328, 1.0),))


async def test_penalties_push_tokens_apart(engine: TransformersEngine) -> None:
    bias = ((70, 1000.0), (71, 900.0), (72, 800.0))
    assert set(ids_of((await generate(engine, max_tokens=3, logit_bias=bias))[0])) == {70}
    fields: tuple[dict[str, Any], ...] = (
        {"presence_penalty": 300.0},
        {"frequency_penalty": 300.0},
        {"repetition_penalty": 3.0},
    )
    for field in fields:
        ids = ids_of((await generate(engine, max_tokens=3, logit_bias=bias, **field))[0])
        assert ids == [70, 71, 72], field


async def test_the_end_of_text_waits_for_min_tokens(engine: TransformersEngine) -> None:
    end_id = engine.tokenizer.eos_id
    assert end_id is not None
    bias = ((end_id, 100.0),)
    end = (await generate(engine, logit_bias=bias))[0]
    assert (end.text, end.finish_reason, end.token_count, end.tokens) == ("", "stop", 1, ())
    later = (await generate(engine, logit_bias=bias, min_tokens=5))[0]
    assert (later.finish_reason, later.token_count, len(later.tokens)) == ("stop", 6, 5)


async def test_padding_of_the_vocabulary_is_never_drawn(engine: TransformersEngine) -> None:
    ends = await generate(engine, n=8, temperature=50.0, max_tokens=40, seed=1)
    assert max(max(ids_of(end)) for end in ends) < 320


@pytest.mark.parametrize(
    "prompt", [Chat((Message("user", "add two numbers"),)), Fim("def add(a, b):\n", "\n"), Text("")]
)
async def test_every_kind_of_prompt(engine: TransformersEngine, prompt: Prompt) -> None:
    assert (await generate(engine, prompt))[0].token_count > 0


async def test_scores_of_known_text(engine: TransformersEngine) -> None:
    scored = await engine.score(PROMPT, ["", " return"])
    assert scored[0].tokens == ()
    assert "".join(token.text for token in scored[1].tokens) == " return"


@pytest.mark.parametrize("family", ["GPTBigCode", "Mistral"])
async def test_sliding_windows_and_absolute_positions(tmp_path: Path, family: str) -> None:
    changes: dict[str, Any] = {"sliding_window": 16} if family == "Mistral" else {}
    folder = make_checkpoint(tmp_path / "hf", family, **changes)
    engine = await load(folder=folder, threads=1)
    model = transformers.AutoModelForCausalLM.from_pretrained(str(folder), dtype=torch.float32).eval()
    end = (await generate(engine, Text(CODE[:200]), n=2, max_tokens=24, logit_bias=((0, -100.0),)))[1]
    prompt = engine.tokenizer.encode_prompt(Text(CODE[:200]))
    with torch.inference_mode():
        expected = model(torch.tensor([prompt + ids_of(end)])).logits[0].float().log_softmax(-1)
    for at, token in enumerate(end.tokens):
        assert token.logprob == pytest.approx(float(expected[len(prompt) - 1 + at, token.id]), abs=1e-3)
    await engine.aclose()


async def test_bfloat16_is_said_and_close(engine: TransformersEngine, folder: Path) -> None:
    half = await load(folder=folder, dtype="bfloat16", threads=1)
    assert (half.info.dtype, engine.info.dtype) == ("bfloat16", "float32")
    ours, theirs = await engine.score(PROMPT, [" return number"]), await half.score(PROMPT, [" return number"])
    await half.aclose()
    for exact, rounded in zip(ours[0].tokens, theirs[0].tokens, strict=True):
        assert rounded.logprob == pytest.approx(exact.logprob, abs=0.5)


async def test_what_cannot_be_loaded_is_said(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(ModelNotFound, match=r"config.json"):
        await load(folder=tmp_path)
    with pytest.raises(UnsupportedDtype, match=r"'int8'.*float32, bfloat16"):
        await load(folder=folder, dtype="int8", device="cpu")
