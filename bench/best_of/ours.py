"""Touchstone: one request with the tests in it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bench.best_of.asked import TEMPERATURE, TOP_P, Answer, Asked, posted
from reranker.evaluation import Problem


@dataclass(frozen=True, slots=True)
class Ours:
    """A Touchstone server with one engine; it stops at the first candidate that passes, as it does unless told."""

    engine: str
    client: Any

    @property
    def name(self) -> str:
        return f"touchstone, {self.engine}"

    async def answer(self, problem: Problem, asked: Asked) -> Answer:
        tests = {
            "code": problem.test,
            "entry_point": problem.entry_point,
            "timeout_ms": round(1000 * asked.timeout_s),
        }
        rerank = {"method": "tests", "num_candidates": asked.n, "temperature": TEMPERATURE, "top_p": TOP_P}
        body = {"prompt": problem.prompt, "max_tokens": asked.tokens, "rerank": rerank | {"tests": tests}}
        reply = await posted(self.client, "/v1/completions", body)
        [choice] = reply["choices"]
        return Answer(
            verified=choice["rerank"]["class"] == "pass",
            tokens=reply["usage"]["completion_tokens"],
            runs=reply["rerank"]["num_unique"],
        )
