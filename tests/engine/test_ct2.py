"""The CTranslate2 engine with a random model, converted on the spot."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import textwrap
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from engine import (
    Chat,
    ContextTooLong,
    EngineFailed,
    Fim,
    GenerationRequest,
    Message,
    ModelNotConverted,
    Overloaded,
    Priority,
    Sampling,
    Started,
    Text,
    TextPiece,
    TokenIds,
    UnsupportedDtype,
    UnsupportedField,
)
from engine.ct2 import Ct2Engine, Threads
from tests.contracts.engine import EngineCase, EngineContract, collect, finished

PROMPT = Text("def add(a, b):\n    return")
ONE_WORKER = Threads(intra=1, workers=1)


@pytest.fixture
async def engine(converted: Path) -> AsyncIterator[Ct2Engine]:
    engine = await Ct2Engine.load(converted, model_name="random")
    yield engine
    await engine.aclose()


class TestContract(EngineContract):
    @pytest.fixture
    async def case(self, engine: Ct2Engine) -> EngineCase:
        return EngineCase(
            engine=engine,
            prompt=PROMPT,
            max_tokens=16,
            too_long=Text("x = 1\n" * 200),
            unsupported=(
                ("logit_bias", Sampling(logit_bias=((1, 1.0),))),
                ("presence_penalty", Sampling(presence_penalty=0.5)),
                ("frequency_penalty", Sampling(frequency_penalty=0.5)),
            ),
            running=lambda: engine.stats().requests_running + engine.stats().rows_running,
            score_tolerance=1e-3,
        )


def ask(n: int = 1, *, prompt: Text | TokenIds | Chat | Fim = PROMPT, **sampling: object) -> GenerationRequest:
    fields: dict[str, object] = {"max_tokens": 16} | sampling
    return GenerationRequest(id="r", prompt=prompt, n=n, sampling=Sampling(**fields))  # type: ignore[arg-type]


async def test_info_tells_what_the_model_is(engine: Ct2Engine) -> None:
    info = engine.info
    assert (info.engine, info.model, info.dtype, info.context_length) == ("ctranslate2", "random", "float32", 256)
    assert (info.fim, info.chat, info.seed_honoured) == ("starcoder", True, False)


async def test_chat_fim_and_token_ids_are_prompts(engine: Ct2Engine) -> None:
    for prompt in (Chat((Message("user", "hi"),)), Fim("def f():\n", "\n    return x"), TokenIds((40, 41, 42))):
        assert finished(await collect(engine, ask(prompt=prompt, max_tokens=3)))[0].token_count <= 3


async def test_a_token_id_outside_the_vocabulary_is_refused(engine: Ct2Engine) -> None:
    with pytest.raises(UnsupportedField):
        await collect(engine, ask(prompt=TokenIds((10**6,))))


@pytest.mark.parametrize(
    "sampling",
    [
        {"temperature": 0.5},
        {"temperature": 1.3, "top_p": 0.7},
        {"temperature": 0.8, "top_k": 5},
        {"temperature": 1.0, "repetition_penalty": 1.5},
        {"temperature": 1.0, "logprobs": 4, "repetition_penalty": 1.5},
        {"temperature": 0.0, "repetition_penalty": 2.0},
    ],
)
async def test_logprobs_are_the_models_own(engine: Ct2Engine, checkpoint: Path, sampling: dict[str, Any]) -> None:
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    model = transformers.AutoModelForCausalLM.from_pretrained(checkpoint).eval()
    prompt = engine._model.tokenizer.encode_prompt(PROMPT)
    for end in finished(await collect(engine, ask(3, **sampling))):
        ids = [token.id for token in end.tokens]
        with torch.no_grad():
            logprobs = model(torch.tensor([prompt + ids])).logits[0].log_softmax(-1)[len(prompt) - 1 :]
        for row, token in zip(logprobs, end.tokens, strict=False):
            assert token.logprob == pytest.approx(float(row[token.id]), abs=1e-3)
            best = row.topk(len(token.top)).values.tolist() if token.top else []
            assert [value for _, value in token.top] == pytest.approx(best, abs=1e-3)


async def test_min_tokens_keeps_the_end_away(engine: Ct2Engine) -> None:
    ends = finished(await collect(engine, ask(8, max_tokens=60, min_tokens=60, temperature=2.0)))
    assert {end.finish_reason for end in ends} == {"length"}


async def test_many_candidates_are_cut_into_calls_of_eight(engine: Ct2Engine) -> None:
    await collect(engine, ask(19))
    assert engine.stats().calls_by_rows == ((3, 1), (8, 2))


async def all_at_once(engine: Ct2Engine, requests: list[GenerationRequest]) -> list[str]:
    """Texts of requests that all wait while the only worker is busy, and then are free to go."""
    busy = engine.generate(ask(8, max_tokens=200, min_tokens=200))
    await anext(busy)
    tasks = [asyncio.create_task(collect(engine, request)) for request in requests]
    while engine.stats().requests_waiting < len(requests):  # noqa: ASYNC110
        await asyncio.sleep(0)
    await busy.aclose()
    return [finished(events)[0].text for events in await asyncio.gather(*tasks)]


async def test_waiting_requests_share_a_call(converted: Path) -> None:
    engine = await Ct2Engine.load(converted, model_name="random", threads=ONE_WORKER)
    alone = finished(await collect(engine, ask(temperature=0.0)))[0].text
    texts = await all_at_once(engine, [ask(temperature=0.0, max_tokens=5 + number) for number in range(12)])
    assert all(alone.startswith(text) for text in texts)
    assert (12, 1) in engine.stats().calls_by_rows
    await engine.aclose()


async def test_prompts_of_near_lengths_in_one_call_keep_their_own_answers(converted: Path) -> None:
    engine = await Ct2Engine.load(converted, model_name="random", threads=ONE_WORKER)
    requests = [ask(prompt=Text("x = 1\n" * 5 + "y" * number), temperature=0.0) for number in range(4)]
    alone = [finished(await collect(engine, request))[0].text for request in requests]
    assert await all_at_once(engine, requests) == alone
    assert (4, 1) in engine.stats().calls_by_rows
    await engine.aclose()


async def test_what_differs_in_its_options_or_length_does_not_share(converted: Path) -> None:
    engine = await Ct2Engine.load(converted, model_name="random", threads=ONE_WORKER)
    far = ask(prompt=Text("x = 1\n" * 20), temperature=0.0)
    await all_at_once(engine, [ask(temperature=0.0), ask(temperature=0.5), ask(temperature=0.0, logprobs=2), far])
    assert dict(engine.stats().calls_by_rows)[1] == 4
    await engine.aclose()


async def test_a_full_queue_is_overloaded(converted: Path) -> None:
    engine = await Ct2Engine.load(converted, model_name="random", threads=ONE_WORKER, max_waiting=2)
    running = engine.generate(ask(64, max_tokens=200, min_tokens=200))
    assert isinstance(await anext(running), Started)
    waiting = [asyncio.create_task(collect(engine, ask(2))) for _ in range(2)]
    while engine.stats().requests_waiting < 2:  # noqa: ASYNC110
        await asyncio.sleep(0)
    with pytest.raises(Overloaded) as refusal:
        await collect(engine, ask())
    assert refusal.value.retry_after_s >= 1
    await running.aclose()
    await asyncio.gather(*waiting)
    await engine.aclose()


async def test_as_you_type_does_not_wait_for_a_batch(converted: Path) -> None:
    engine = await Ct2Engine.load(converted, model_name="random", threads=ONE_WORKER)
    batch = engine.generate(ask(64, max_tokens=200, min_tokens=200))
    assert isinstance(await anext(batch), Started)
    typed = GenerationRequest(id="t", prompt=PROMPT, priority=Priority.AS_YOU_TYPE, sampling=Sampling(max_tokens=4))
    await collect(engine, typed)
    assert engine.stats().sampled_tokens < 64 * 200, "the batch is not done yet"
    await batch.aclose()
    await engine.aclose()


async def test_a_deadline_ends_what_runs_with_the_text_so_far(converted: Path) -> None:
    engine = await Ct2Engine.load(converted, model_name="random", threads=ONE_WORKER)
    sampling = Sampling(max_tokens=200, min_tokens=200)
    request = GenerationRequest(id="d", prompt=PROMPT, n=64, sampling=sampling, deadline=time.monotonic() + 0.05)
    began = time.monotonic()
    ends = finished(await collect(engine, request))
    assert time.monotonic() - began < 1.0
    assert "cancelled" in {end.finish_reason for end in ends}
    assert any(end.text for end in ends)
    await engine.aclose()


async def test_closing_stops_decoding_early(engine: Ct2Engine) -> None:
    events = engine.generate(ask(8, max_tokens=230, min_tokens=230))
    async for event in events:
        if isinstance(event, TextPiece):
            break
    await events.aclose()
    await engine.aclose()  # joins the worker: the call has ended
    assert 0 < engine.stats().sampled_tokens < 8 * 230 / 2


async def test_pieces_come_before_the_end(engine: Ct2Engine) -> None:
    events = await collect(engine, ask(max_tokens=200, min_tokens=200))
    assert sum(isinstance(event, TextPiece) for event in events) > 1


async def test_a_closed_engine_says_so(converted: Path) -> None:
    engine = await Ct2Engine.load(converted, model_name="random")
    await engine.aclose()
    with pytest.raises(EngineFailed):
        await collect(engine, ask())
    with pytest.raises(EngineFailed):
        await engine.score(PROMPT, ["x"])


async def test_what_the_host_cannot_compute_is_refused(converted: Path) -> None:
    ctranslate2 = pytest.importorskip("ctranslate2")
    if "float16" in ctranslate2.get_supported_compute_types("cpu"):
        pytest.skip("this CPU computes in float16")
    with pytest.raises(UnsupportedDtype, match="float32"):
        await Ct2Engine.load(converted, model_name="random", dtype="float16", device="cpu")


async def test_the_type_in_use_is_told(converted: Path) -> None:
    engine = await Ct2Engine.load(converted, model_name="random", dtype="int8", device="cpu")
    assert engine.info.dtype == "int8_float32"
    await engine.aclose()


async def test_an_unconverted_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelNotConverted, match="touchstone models convert"):
        await Ct2Engine.load(tmp_path, model_name="none")


def test_a_process_may_end_without_closing(converted: Path) -> None:
    program = textwrap.dedent(f"""
        import asyncio
        from pathlib import Path
        from engine import GenerationRequest, Sampling, Text
        from engine.ct2 import Ct2Engine
        async def main():
            engine = await Ct2Engine.load(Path({str(converted)!r}), model_name="random")
            request = GenerationRequest(id="r", prompt=Text("x"), n=32, sampling=Sampling(max_tokens=200))
            events = engine.generate(request)
            await anext(events)
            globals().update(engine=engine, events=events)
        asyncio.run(main())
    """)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")


async def test_a_prompt_that_cannot_fit_is_refused_before_it_is_encoded(engine: Ct2Engine) -> None:
    began = time.monotonic()
    with pytest.raises(ContextTooLong, match="characters"):
        await collect(engine, ask(prompt=Text("abc " * 1_000_000)))
    assert time.monotonic() - began < 1
