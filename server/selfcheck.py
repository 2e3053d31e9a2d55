"""Whether a model that has just been loaded computes what it should, before anybody is answered by it.

It must not cost more than a second: two short texts are sampled and one is scored. What the publisher recorded of it
(`self_check` in its manifest's evaluation: a list of `{"prompt", "completion", "mean_logprob"}`) is computed again.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from engine import Engine, Finished, GenerationRequest, InvalidModel, Priority, Sampling, Text, TokenLogprob

PROMPTS = ("def add(a, b):\n", "for number in range(10):\n")
TOKENS = 16
KNOWN = ('def first(items):\n    """Return the first item."""\n', "    return items[0]\n")
"""What every model of Python code expects: the bundled ones at 0.02 nats a character, the under-trained one too."""
MOST_NATS_A_CHARACTER = 2.0
"""A model that guesses among a vocabulary of 1,500 has 2.5 on this text, and more with a larger vocabulary."""
TOLERANCES = {"float32": 0.01, "float16": 0.05, "bfloat16": 0.1, "int16": 0.05, "int8": 0.25}
"""By the type computed in, how far a mean log-probability may be from the one recorded, in nats a token. Measured
between float32 and int8: 0.005."""


async def check(engine: Engine, evaluation: Mapping[str, Any] | None) -> None:
    """Raises `InvalidModel`, naming what is wrong, for a model that must not be served; its engine's errors too."""
    for prompt in PROMPTS:
        await _samples(engine, prompt)
    [mean], tokens = await _scored(engine, [KNOWN])
    text = "".join(token.text for token in tokens[0])
    if text.strip() != KNOWN[1].strip():
        raise InvalidModel(f"self-check: its tokens spell {text!r} for {KNOWN[1]!r}")
    nats = -mean * len(tokens[0]) / len(KNOWN[1])
    if nats > MOST_NATS_A_CHARACTER:
        raise InvalidModel(f"self-check: {nats:.2f} nats a character on plain Python; it guesses")
    await _as_recorded(engine, (evaluation or {}).get("self_check"))


async def _samples(engine: Engine, prompt: str) -> None:
    """Greedy tokens with numbers as log-probabilities."""
    sampling = Sampling(temperature=0.0, max_tokens=TOKENS)
    request = GenerationRequest(id="self-check", prompt=Text(prompt), sampling=sampling, priority=Priority.AS_YOU_TYPE)
    async for event in engine.generate(request):
        if isinstance(event, Finished):
            if event.token_count < 1:
                raise InvalidModel(f"self-check: nothing sampled after {prompt!r}")
            _numbers(event.tokens)


async def _as_recorded(engine: Engine, recorded: object) -> None:
    if recorded is None:
        return
    try:
        pairs = [(str(entry["prompt"]), str(entry["completion"])) for entry in recorded]  # type: ignore[attr-defined]
        wanted = [float(entry["mean_logprob"]) for entry in recorded]  # type: ignore[attr-defined]
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidModel(f"manifest.json: evaluation.self_check: {error!r}") from error
    tolerance = TOLERANCES.get(engine.info.dtype.split("_")[0], max(TOLERANCES.values()))
    means, _ = await _scored(engine, pairs)
    for number, (mean, expected) in enumerate(zip(means, wanted, strict=True)):
        if not abs(mean - expected) <= tolerance:
            raise InvalidModel(
                f"self-check: mean log-probability {mean:.4f} for evaluation.self_check[{number}], recorded as "
                f"{expected:.4f} (tolerance of {engine.info.dtype}: {tolerance})"
            )


async def _scored(
    engine: Engine, pairs: Sequence[tuple[str, str]]
) -> tuple[list[float], list[tuple[TokenLogprob, ...]]]:
    """Mean log-probability and tokens of each completion."""
    means, tokens = [], []
    for prompt, completion in pairs:
        [scored] = await engine.score(Text(prompt), [completion])
        if not scored.tokens:
            raise InvalidModel(f"self-check: no tokens in {completion!r}")
        _numbers(scored.tokens)
        means.append(sum(token.logprob for token in scored.tokens) / len(scored.tokens))
        tokens.append(scored.tokens)
    return means, tokens


def _numbers(tokens: Sequence[TokenLogprob]) -> None:
    for token in tokens:
        if not math.isfinite(token.logprob) or token.logprob > 1e-3:
            raise InvalidModel(f"self-check: log-probability {token.logprob} for {token.text!r}")
