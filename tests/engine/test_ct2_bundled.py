"""The bundled model, as the light install serves it: nothing here needs torch."""

from __future__ import annotations

from pathlib import Path

from engine import Chat, EngineConfig, Fim, GenerationRequest, Message, ModelStore, Prompt, Sampling, Text, build_engine
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
    finally:
        await served.aclose()
