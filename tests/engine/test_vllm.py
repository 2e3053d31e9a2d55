"""The vllm engine on a small made model: the contract, and what is its own. Needs vLLM (`make test-vllm`)."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from engine.errors import EngineFailed, InvalidSetting, ModelNotFound, UnsupportedDtype, UnsupportedField
from engine.types import (
    Chat,
    Fim,
    Finished,
    GenerationRequest,
    Message,
    Priority,
    Prompt,
    Sampling,
    Started,
    Text,
    TextPiece,
    TokenIds,
)
from tests.contracts.engine import PATIENCE_S, EngineCase, EngineContract, collect, finished

pytest.importorskip("vllm", reason="vLLM is in an environment of its own: make test-vllm")

from engine.hf import load as load_reference
from engine.vllm_engine import VllmEngine, load
from tests.engine.adapters import make_adapter, merged
from tests.engine.checkpoints import CODE, make_checkpoint

# vLLM and torch warn of each other's ways.
pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.filterwarnings("default")]

PROMPT = Text("def is_even(number):")
LONG = [Text(CODE[start : start + 180]) for start in (0, 40, 80, 120)]
"""Of several blocks of vLLM's cache each."""
SMALL = {"enforce_eager": True, "kv_cache_memory_bytes": 64 * 2**20, "block_size": 32}
ROUNDS = SMALL | {"enable_lora": True, "max_loras": 3, "max_lora_rank": 8, "max_num_seqs": 16}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that never ends by itself within the contract's lengths, with heads of a size that vLLM has on CPUs."""
    home = tmp_path_factory.mktemp("vllm-engine") / "hf"
    return make_checkpoint(
        home, "Qwen2", eos_token_id=319, hidden_size=64, num_attention_heads=2, num_key_value_heads=1
    )


class Engines:
    """Starting vLLM takes long, so tests share an engine; who closes it makes the next one wait."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._engine: VllmEngine | None = None
        self._arguments: dict[str, Any] = {}

    async def get(self, arguments: dict[str, Any]) -> VllmEngine:
        if self._engine is None or self._engine.closed or arguments != self._arguments:
            await self.aclose()
            self._arguments = arguments
            self._engine = await load(folder=self._folder, dtype="float32", threads=1, arguments=arguments)
        return self._engine

    async def aclose(self) -> None:
        if self._engine is not None:
            await self._engine.aclose()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engines(folder: Path) -> AsyncIterator[Engines]:
    engines = Engines(folder)
    yield engines
    await engines.aclose()


@pytest_asyncio.fixture(loop_scope="module")
async def engine(engines: Engines) -> VllmEngine:
    """One that takes rounds, and 14 candidates at once beside 2 places for typing."""
    return await engines.get(ROUNDS)


async def generate(engine: VllmEngine, prompt: Prompt = PROMPT, n: int = 1, **sampling: Any) -> list[Finished]:
    fields: dict[str, Any] = {"temperature": 0.0, "max_tokens": 16} | sampling
    request = GenerationRequest(id="r", prompt=prompt, sampling=replace(Sampling(), **fields), n=n)
    return finished(await collect(engine, request))


async def at_rest(engine: VllmEngine) -> None:
    """Return when nothing is under way, here or in vLLM; engines do not say when, so this asks again and again."""
    async with asyncio.timeout(PATIENCE_S):
        while engine.stats().requests_running or engine.stats().rows_running:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        # vLLM forgets its prompts only where no sequence holds a block of its cache.
        assert await engine.core.llm.reset_prefix_cache()


class TestContract(EngineContract):
    @pytest_asyncio.fixture(loop_scope="module")
    async def case(self, engines: Engines) -> EngineCase:
        engine = await engines.get(SMALL)
        return EngineCase(
            engine=engine,
            prompt=PROMPT,
            too_long=TokenIds((5,) * 256),
            running=lambda: engine.stats().requests_running + engine.stats().rows_running,
            score_tolerance=1e-3,
        )


async def test_greedy_text_and_log_probabilities_are_those_of_transformers(engine: VllmEngine, folder: Path) -> None:
    reference = await load_reference(folder=folder, dtype="float32", threads=1)
    for prompt in (PROMPT, Chat((Message("user", "add two numbers"),)), Fim("def add(a, b):\n", "\n"), LONG[0]):
        [ours] = await generate(engine, prompt, max_tokens=24, logprobs=5)
        request = GenerationRequest(
            id="r", prompt=prompt, sampling=Sampling(temperature=0.0, max_tokens=24, logprobs=5)
        )
        [theirs] = finished(await collect(reference, request))
        assert ours.text == theirs.text
        for one, other in zip(ours.tokens, theirs.tokens, strict=True):
            assert one.logprob == pytest.approx(other.logprob, abs=1e-3)
            assert [value for _, value in one.top] == pytest.approx([value for _, value in other.top], abs=1e-3)
    await reference.aclose()


async def test_a_seed_repeats_itself_whatever_else_runs(engine: VllmEngine) -> None:
    alone = await generate(engine, n=3, temperature=1.0, seed=11)
    again, _ = await asyncio.gather(
        generate(engine, n=3, temperature=1.0, seed=11), generate(engine, n=2, temperature=1.0)
    )
    assert [end.text for end in again] == [end.text for end in alone]
    assert len({end.text for end in alone}) == 3
    other = await generate(engine, n=3, temperature=1.0, seed=12)
    assert not {end.text for end in other} & {end.text for end in alone}
    assert (await generate(engine, temperature=1.0, seed=11))[0].text == alone[0].text


async def test_every_field_of_sampling_counts(engine: VllmEngine, folder: Path) -> None:
    greedy = (await generate(engine))[0]
    assert (await generate(engine, temperature=1.0, top_k=1))[0].text == greedy.text
    assert (await generate(engine, temperature=1.0, top_p=1e-6))[0].text == greedy.text
    reference = await load_reference(folder=folder, dtype="float32", threads=1)
    fields: tuple[dict[str, Any], ...] = (
        {"presence_penalty": 2.0},
        {"frequency_penalty": 1.5},
        {"repetition_penalty": 3.0},
        {"logit_bias": ((70, 1000.0), (71, 999.0)), "presence_penalty": 2.0},
    )
    for field in fields:
        request = GenerationRequest(id="r", prompt=PROMPT, sampling=Sampling(temperature=0.0, max_tokens=40, **field))
        [ours], [theirs] = finished(await collect(engine, request)), finished(await collect(reference, request))
        assert [token.id for token in ours.tokens] == [token.id for token in theirs.tokens], field
        assert ours.text != greedy.text
    await reference.aclose()
    end_id = engine.tokenizer.eos_id
    assert end_id is not None
    [end] = await generate(engine, logit_bias=((end_id, 100.0),), min_tokens=5)
    assert (end.finish_reason, end.token_count, len(end.tokens)) == ("stop", 6, 5)
    with pytest.raises(UnsupportedField, match=r"presence_penalty: .*\[-2, 2\]"):
        await generate(engine, presence_penalty=300.0)
    with pytest.raises(UnsupportedField, match="logit_bias: token ids go from 0 to 319"):
        await generate(engine, logit_bias=((320, 1.0),))


async def test_one_candidate_stops_and_the_others_go_on(engine: VllmEngine) -> None:
    whole = await generate(engine, n=4, temperature=1.0, seed=3, max_tokens=100)
    stop = whole[2].text[3:6]
    ends = await generate(engine, n=4, temperature=1.0, seed=3, max_tokens=100, stop=(stop,))
    for end, full in zip(ends, whole, strict=True):
        assert end.text == full.text.split(stop)[0]
    assert {end.finish_reason for end in ends} >= {"stop"}
    assert ends[2].token_count < 100
    await at_rest(engine)


async def test_a_hundred_aborted_requests_leave_no_running_sequence(engine: VllmEngine) -> None:
    loop = asyncio.get_running_loop()

    async def aborted(number: int) -> None:
        request = GenerationRequest(
            id=f"aborted-{number}",
            prompt=LONG[number % 4],
            sampling=Sampling(temperature=1.0, max_tokens=120),
            n=1 + number % 5,
            fairness_key=f"key {number % 3}",
            deadline=loop.time() + 0.01 * number if number % 4 == 3 else None,
        )
        async for event in (events := engine.generate(request)):
            if (number % 4 == 0 and isinstance(event, Started)) or (number % 4 == 1 and isinstance(event, TextPiece)):
                break
        await events.aclose()

    async with asyncio.timeout(PATIENCE_S):
        tasks = [asyncio.create_task(aborted(number)) for number in range(100)]
        for number, task in enumerate(tasks):
            if number % 4 == 2:
                loop.call_later(0.02 * number, task.cancel)
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            assert result is None or isinstance(result, asyncio.CancelledError), result
    await at_rest(engine)
    assert engine.stats().requests_waiting == 0
    assert (await generate(engine))[0].finish_reason == "length"


async def test_typing_joins_a_batch_that_runs_and_overtakes_what_waits(engine: VllmEngine) -> None:
    batch = [
        asyncio.create_task(
            collect(
                engine,
                GenerationRequest(
                    id=f"batch-{number}",
                    prompt=LONG[0],
                    sampling=Sampling(max_tokens=120, min_tokens=120),
                    n=14,
                    priority=Priority.BATCH,
                ),
            )
        )
        for number in range(2)
    ]
    while not engine.stats().requests_waiting:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    typed = GenerationRequest(
        id="typed", prompt=PROMPT, sampling=Sampling(temperature=0.0, max_tokens=8), priority=Priority.AS_YOU_TYPE
    )
    events = await collect(engine, typed)
    assert isinstance(events[0], Started)
    assert events[0].queue_s < 0.01
    assert not any(task.done() for task in batch)
    for task in batch:
        assert len(finished(await task)) == 14


@pytest.fixture(scope="module")
def adapters(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two rounds, and another adapter that goes by the name of the second."""
    home = tmp_path_factory.mktemp("rounds")
    places = {"r1": home / "r1", "r2": home / "r2", "r2 again": home / "elsewhere" / "r2"}
    return {name: make_adapter(place, folder, seed=seed) for seed, (name, place) in enumerate(places.items())}


async def test_a_round_computes_what_its_merged_model_does(
    engine: VllmEngine, folder: Path, adapters: dict[str, Path], tmp_path: Path
) -> None:
    base = [(await generate(engine, prompt))[0].text for prompt in LONG]
    for name in ("r1", "r2", "r2 again"):
        reference = await load_reference(folder=merged(tmp_path / name, folder, adapters[name]), threads=1)
        tuned = await engine.with_round(adapters[name], model_name=name.split()[0])
        assert tuned.info.model == name.split()[0]
        assert tuned.info.weights != engine.info.weights
        for prompt, untuned in zip(LONG, base, strict=True):
            [end] = await generate(tuned, prompt)
            request = GenerationRequest(id="r", prompt=prompt, sampling=Sampling(temperature=0.0, max_tokens=16))
            [expected] = finished(await collect(reference, request))
            assert end.text == expected.text, "of another round, or of older weights of the same name"
            assert end.text != untuned
            [scored], [theirs] = await tuned.score(prompt, [" return"]), await reference.score(prompt, [" return"])
            assert [t.logprob for t in scored.tokens] == pytest.approx([t.logprob for t in theirs.tokens], abs=1e-2)
        await tuned.aclose()
        await reference.aclose()
        with pytest.raises(EngineFailed, match="closed"):
            await generate(tuned)
    assert [(await generate(engine, prompt))[0].text for prompt in LONG] == base


async def test_a_round_switched_under_load_mixes_no_reply(engine: VllmEngine, adapters: dict[str, Path]) -> None:
    current = old = await engine.with_round(adapters["r1"], model_name="r1")
    replies: dict[str, dict[int, set[str]]] = {name: defaultdict(set) for name in ("r1", "r2")}
    counts: dict[str, int] = defaultdict(int)
    stopping = asyncio.Event()

    async def client(number: int) -> None:
        while not stopping.is_set():
            served, at = current, (number + counts["r1"] + counts["r2"]) % len(LONG)
            for end in await generate(served, LONG[at], n=2, max_tokens=24):
                replies[served.info.model][at].add(end.text)
                assert end.finish_reason == "length"
            counts[served.info.model] += 1

    async with asyncio.timeout(PATIENCE_S):
        clients = [asyncio.create_task(client(number)) for number in range(8)]
        while counts["r1"] < 24:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        current = new = await engine.with_round(adapters["r2"], model_name="r2")
        while counts["r2"] < 24:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        stopping.set()
        await asyncio.gather(*clients)
    for served in (old, new):
        for at, texts in replies[served.info.model].items():
            assert texts == {(await generate(served, LONG[at], max_tokens=24))[0].text}
    await old.aclose()
    assert (await generate(new))[0].token_count == 16
    await new.aclose()
    await at_rest(engine)


async def test_the_base_beside_as_many_rounds_as_there_may_be(engine: VllmEngine, adapters: dict[str, Path]) -> None:
    """In one batch; vLLM on CPUs has its last place's adapter on rows that have none."""
    alone = [end.text for end in await generate(engine)]
    rounds = [await engine.with_round(folder, model_name=name) for name, folder in adapters.items()]
    again = await engine.with_round(None, model_name="base")
    assert not engine.takes_round(engine.core.weights, adapters["r1"])
    with pytest.raises(InvalidSetting, match=r"max_loras: 3 rounds"):
        await engine.with_round(adapters["r1"], model_name="r4")
    apart = [(await generate(each))[0].text for each in rounds]
    for _ in range(3):
        scoring = [asyncio.create_task(each.score(LONG[0], [" return"])) for each in (*rounds, engine)]
        found = await asyncio.gather(*(generate(each) for each in (*rounds, engine, again)))
        assert [end.text for [end] in found] == [*apart, *alone, *alone]
        scores = [scored.tokens[0].logprob for [scored] in await asyncio.gather(*scoring)]
        assert len(set(scores)) == 4
    for each in (*rounds, again):
        await each.aclose()
    assert [end.text for end in await generate(engine)] == alone


async def test_what_cannot_be_loaded_is_said(engine: VllmEngine, folder: Path, tmp_path: Path) -> None:
    for name, value, refusal in (
        ("gpu_memory_utilisation", 0.5, r"engine.vllm.gpu_memory_utilisation: .* 'gpu_memory_utilization'"),
        ("model", "other", r"engine.vllm.model: engine.model names it"),
        ("enable_sleep_mode", True, r"engine.vllm.enable_sleep_mode: vLLM cannot sleep on CPUs"),
    ):
        with pytest.raises(InvalidSetting, match=refusal):
            await load(folder=folder, arguments={name: value})
    with pytest.raises(InvalidSetting, match=r"engine.device: 'cuda'.* computes on cpu"):
        await load(folder=folder, device="cuda")
    with pytest.raises(InvalidSetting, match=r"enable_sleep_mode"):
        await engine.sleep()
    with pytest.raises(UnsupportedDtype, match=r"'int8'.*float32"):
        await load(folder=folder, dtype="int8")
    with pytest.raises(ModelNotFound, match=r"config.json"):
        await load(folder=tmp_path)
    with pytest.raises(ModelNotFound, match=r"adapter_config.json"):
        await engine.with_round(tmp_path, model_name="r9")
