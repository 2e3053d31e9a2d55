"""The plan of a load: who sends what when, and when the next key stops it. The same seed gives the same plan.

Typing is replayed key by key: each typist writes what fills a gap, and an editor asks after each key that is followed
by a pause of `DEBOUNCE_S`, with all that stands before and after the cursor. The next key stops the request, if it
still runs. Time between keys: log-normal with the mean and spread of Dhakal et al. 2018 ("Observations on Typing from
136 Million Keystrokes", CHI), 239 and 112 ms; now and then a pause to think. Chats and best-of-n requests arrive as a
Poisson process.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reranker.evaluation import Problem

TYPING, CHAT, BEST_OF = "typing", "chat", "best of n"
KEY_MEAN_S, KEY_SPREAD_S = 0.239, 0.112
DEBOUNCE_S = 0.1
THINK_SHARE, THINK_MEAN_S = 0.05, 2.0
"""Of keys that a pause to think follows, and how long it is on average."""
GAP_TOKENS, CHAT_TOKENS, BEST_TOKENS = 48, 256, 256


@dataclass(frozen=True, slots=True)
class Shot:
    """One request of the plan."""

    kind: str
    at_s: float
    """From the beginning of the load."""
    stop_s: float | None
    """When its sender loses interest; None: never."""
    path: str
    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mix:
    """How much of what."""

    seconds: float
    typists: int
    chats_per_s: float
    best_per_s: float
    candidates: int
    """Of a best-of-n request."""
    fim: bool
    """Whether the server fills gaps (`suffix`); else those who type send what stands before the cursor alone."""
    reranks: bool
    """Whether best-of-n is asked for as `rerank`; else as `n`."""
    seed: int


def plan(mix: Mix, model: str, gaps: Sequence[Problem], tasks: Sequence[Problem]) -> tuple[Shot, ...]:
    """Every request, by its time. `gaps` are typed into, `tasks` are asked for; both in an order of the plan's own."""
    shots: list[Shot] = []
    for number in range(mix.typists):
        shots += _typed(mix, model, gaps, random.Random(f"{mix.seed} typist {number}"))
    for kind, rate in ((CHAT, mix.chats_per_s), (BEST_OF, mix.best_per_s)):
        rng = random.Random(f"{mix.seed} {kind}")
        for at_s in poisson(rate, mix.seconds, rng):
            path, body = _asked(kind, mix, rng.choice(tasks))
            shots.append(Shot(kind, at_s, None, path, {"model": model, **body}))
    return tuple(sorted(shots, key=lambda shot: shot.at_s))


def poisson(rate: float, seconds: float, rng: random.Random) -> Iterator[float]:
    """Times of arrivals, `rate` a second on average, independent of each other."""
    at_s = 0.0
    while rate > 0:
        at_s += rng.expovariate(rate)
        if at_s >= seconds:
            return
        yield at_s


def keys(seconds: float, rng: random.Random) -> Iterator[float]:
    """Times of keys until `seconds`, the first one within a second."""
    spread = math.log(1 + (KEY_SPREAD_S / KEY_MEAN_S) ** 2)
    middle = math.log(KEY_MEAN_S) - spread / 2
    at_s = rng.random()
    while at_s < seconds:
        yield at_s
        at_s += rng.lognormvariate(middle, math.sqrt(spread))
        if rng.random() < THINK_SHARE:
            at_s += rng.expovariate(1 / THINK_MEAN_S)


def _typed(mix: Mix, model: str, gaps: Sequence[Problem], rng: random.Random) -> Iterator[Shot]:
    """What one typist's editor asks: gap after gap is filled, key by key."""
    times = list(keys(mix.seconds, rng))
    problem, typed = rng.choice(gaps), 0
    for at_s, next_s in zip(times, [*times[1:], None], strict=True):
        text = problem.canonical_solution or ""
        typed += 1
        if typed >= len(text):
            problem, typed = rng.choice(gaps), 0
        if next_s is None or next_s - at_s > DEBOUNCE_S:
            body: dict[str, Any] = {
                "model": model,
                "prompt": problem.prompt + text[:typed],
                "suffix": problem.suffix or "",
            }
            body |= {"max_tokens": GAP_TOKENS, "temperature": 0, "stream": True}
            body |= {"stream_options": {"include_usage": True}}
            if not mix.fim:
                del body["suffix"]
            yield Shot(TYPING, at_s + DEBOUNCE_S, next_s, "/completions", body)


def _asked(kind: str, mix: Mix, task: Problem) -> tuple[str, dict[str, Any]]:
    if kind == CHAT:
        content = f"Complete this function:\n\n```python\n{task.prompt}```"
        told = {"messages": [{"role": "user", "content": content}], "max_tokens": CHAT_TOKENS}
        return "/chat/completions", told | {"stream": True, "stream_options": {"include_usage": True}}
    body = {"prompt": task.prompt, "max_tokens": BEST_TOKENS, "temperature": 0.8, "top_p": 0.95}
    many = {"rerank": {"num_candidates": mix.candidates}} if mix.reranks else {"n": mix.candidates}
    return "/completions", body | many
