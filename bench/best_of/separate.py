"""n requests to `vllm serve`, then the tests."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from bench.best_of.asked import Answer, Asked, posted, sampling
from bench.best_of.verify import first_passing
from reranker.evaluation import Problem


@dataclass(frozen=True, slots=True)
class Separate:
    """All requests sent at once, or each when the one before is answered."""

    model: str
    client: Any
    at_once: bool

    @property
    def name(self) -> str:
        return f"vllm serve, n requests {'at once' if self.at_once else 'in turn'}"

    async def answer(self, problem: Problem, asked: Asked) -> Answer:
        body = {"model": self.model, "prompt": problem.prompt, **sampling(asked)}
        asking = [posted(self.client, "/v1/completions", body) for _ in range(asked.n)]
        replies = await asyncio.gather(*asking) if self.at_once else [await each for each in asking]
        verified, runs = await first_passing(problem, [reply["choices"][0]["text"] for reply in replies], asked)
        return Answer(verified, sum(reply["usage"]["completion_tokens"] for reply in replies), runs)
