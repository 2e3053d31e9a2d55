"""The bundled model, as the light install serves it: nothing here needs torch."""

from __future__ import annotations

from pathlib import Path

import pytest

import engine
from engine import GenerationRequest, Sampling, Text
from engine.ct2 import Ct2Engine
from tests.contracts.engine import collect, finished

FOLDER = Path(engine.__file__).parent / "bundled" / "touchstone-3m" / "ct2-int8"
PROMPT = 'def add(a, b):\n    """Add two numbers.\n\n    >>> add(1, 2)\n    3\n    """\n'


@pytest.mark.skipif(not (FOLDER / "model.bin").is_file(), reason="the bundled model is not in this checkout")
async def test_it_answers_and_scores() -> None:
    served = await Ct2Engine.load(FOLDER, model_name="touchstone:3m-int8", device="cpu")
    request = GenerationRequest(id="b", prompt=Text(PROMPT), n=4, sampling=Sampling(temperature=0.8, max_tokens=48))
    ends = finished(await collect(served, request))
    assert any(end.text.strip() for end in ends)
    assert served.info.dtype.startswith("int8")
    (scored,) = await served.score(Text(PROMPT), ["    return a + b\n"])
    assert scored.tokens
    await served.aclose()
