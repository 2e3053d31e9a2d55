"""The bundled model, as the light install serves it: nothing here needs torch."""

from __future__ import annotations

import gc
import weakref
from dataclasses import replace
from pathlib import Path

import pytest

from engine import (
    Chat,
    ContextTooLong,
    EngineConfig,
    Fim,
    GenerationRequest,
    GivenEngine,
    Message,
    ModelStore,
    Prompt,
    Sampling,
    Text,
    build_engine,
)
from engine.ct2 import Ct2Engine
from tests.contracts.engine import collect, finished

PROMPT = 'def add(a, b):\n    """Add two numbers.\n\n    >>> add(1, 2)\n    3\n    """\n'


async def test_it_answers_scores_chats_and_fills_gaps(tmp_path: Path) -> None:
    served = await build_engine(EngineConfig(device="cpu", dtype="int8"), ModelStore(tmp_path))
    try:
        assert served.info.dtype.startswith("int8")
        assert served.info.chat
        assert served.info.fim == "starcoder"
        before, _, after = "numbers = [1]\n|\n".partition("|")
        prompts: tuple[Prompt, ...] = (Text(PROMPT), Chat((Message("user", "Add two numbers."),)), Fim(before, after))
        for prompt in prompts:
            sampling = Sampling(temperature=0.8, max_tokens=48)
            ends = finished(await collect(served, GenerationRequest(id="b", prompt=prompt, n=4, sampling=sampling)))
            assert any(end.text.strip() for end in ends)
        (scored,) = await served.score(Text(PROMPT), ["    return a + b\n"])
        assert scored.tokens
        assert isinstance(served, Ct2Engine)
        tokens = len(served.tokenizer.encode_prompt(Text(PROMPT)))
        given = GivenEngine(served, Text(PROMPT), ["    return a + b\n"])
        asked = GenerationRequest(id="g", prompt=Text(PROMPT), max_prompt_tokens=tokens)
        with pytest.raises(ContextTooLong, match=f"{tokens} prompt tokens: at most {tokens - 1}"):
            await collect(given, replace(asked, max_prompt_tokens=tokens - 1))
        assert finished([event async for event in given.generate(asked)])[0].tokens == scored.tokens
    finally:
        await served.aclose()


async def test_a_closed_engine_is_freed_without_the_collector(tmp_path: Path) -> None:
    """A server that exchanges models must not keep the old one's memory, nor stop everything to look for it."""
    gc.disable()
    try:
        served = await build_engine(EngineConfig(device="cpu", dtype="int8"), ModelStore(tmp_path))
        await collect(served, GenerationRequest(id="b", prompt=Text(PROMPT), sampling=Sampling(max_tokens=4)))
        await served.score(Text(PROMPT), ["    return a + b\n"])
        assert isinstance(served, Ct2Engine)
        left = [weakref.ref(part) for part in (served, served._model, served._workers)]
        await served.aclose()
        del served
        assert [part() for part in left] == [None, None, None]
    finally:
        gc.enable()


async def test_a_model_is_served_as_another_one_is(tmp_path: Path) -> None:
    """Nothing is measured beside an engine at work, and its type is taken."""
    store = ModelStore(tmp_path)
    bundled = store.get("touchstone-3.8m").conversion("int8")
    for dtype in ("float32", "int8"):
        first = await Ct2Engine.load(bundled, model_name="touchstone:3.8m-int8.r0", dtype=dtype, device="cpu")
        second = await build_engine(EngineConfig(device="cpu"), store, beside=[first])
        await second.aclose()
        await first.aclose()
        assert second.info.dtype.startswith(dtype)
        assert second.info.model == first.info.model
    assert not store.calibrations.exists()
    first = await Ct2Engine.load(bundled, model_name="another:1b-float16.r0", dtype="float32", device="cpu")
    other = await build_engine(EngineConfig(device="cpu"), store, beside=[first])
    await other.aclose()
    await first.aclose()
    assert other.info.dtype.startswith("int8")
