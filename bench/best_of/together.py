"""One request of n choices to `vllm serve`, then the tests."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bench.best_of.asked import Answer, Asked, posted, sampling
from bench.best_of.verify import first_passing
from reranker.evaluation import Problem


@dataclass(frozen=True, slots=True)
class Together:
    """See the module."""

    model: str
    client: Any

    @property
    def name(self) -> str:
        return "vllm serve, n choices"

    async def answer(self, problem: Problem, asked: Asked) -> Answer:
        body = {"model": self.model, "prompt": problem.prompt, "n": asked.n, **sampling(asked)}
        reply = await posted(self.client, "/v1/completions", body)
        verified, runs = await first_passing(problem, [choice["text"] for choice in reply["choices"]], asked)
        return Answer(verified, reply["usage"]["completion_tokens"], runs)
