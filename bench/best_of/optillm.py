"""optillm's best-of-n in front of `vllm serve`, then the tests on what it chose.

It speaks chat alone, asks for n choices, has the model itself rate each (a request each, one after another) and returns
the one that is rated highest (`optillm/bon.py`, 0.4.0). It knows no tests, samples at temperature 1, and asks no stops.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bench.best_of.asked import Answer, Asked, posted
from bench.best_of.verify import first_passing
from reranker.evaluation import Problem


@dataclass(frozen=True, slots=True)
class Optillm:
    """See the module. How many it samples is its server's own setting."""

    model: str
    client: Any

    @property
    def name(self) -> str:
        return "optillm, best of n"

    async def answer(self, problem: Problem, asked: Asked) -> Answer:
        messages = [{"role": "user", "content": problem.prompt}]
        body = {"model": f"bon-{self.model}", "messages": messages, "max_tokens": asked.tokens}
        reply = await posted(self.client, "/v1/chat/completions", body)
        text = reply["choices"][0]["message"]["content"]
        verified, runs = await first_passing(problem, [text], asked)
        return Answer(verified, reply["usage"]["completion_tokens"], runs)
