"""What every side is asked, and what it answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from bench.errors import ServerFailed
from reranker.evaluation import Problem

TEMPERATURE, TOP_P = 0.8, 0.95
STOPS = ("\ndef ", "\nclass ", "\nif ", "\nprint")
"""HumanEval's (arXiv:2107.03374, section 2.1) but one, since vLLM takes four: whoever samples without a reranker ends a
function by them."""


@dataclass(frozen=True, slots=True)
class Asked:
    """Of every side alike."""

    n: int
    tokens: int
    """The most a candidate may have."""
    timeout_s: float
    """Of one candidate's whole run on the tests."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a side came to. Without a verified answer its time is that until it knew there is none."""

    verified: bool
    tokens: int
    """Sampled, as the server counts them."""
    runs: int
    """Programs run on the tests."""


class Side(Protocol):
    """One way to a verified answer."""

    @property
    def name(self) -> str:
        """As the table calls it."""

    async def answer(self, problem: Problem, asked: Asked) -> Answer:
        """Ask, and have the tests run. Raises `ServerFailed`."""


def sampling(asked: Asked) -> dict[str, Any]:
    """Of a completion request to `vllm serve`."""
    return {"max_tokens": asked.tokens, "temperature": TEMPERATURE, "top_p": TOP_P, "stop": list(STOPS)}


async def posted(client: Any, path: str, body: dict[str, Any]) -> Any:
    """The reply's JSON, of an `httpx.AsyncClient`. Raises `ServerFailed` for any status but 200."""
    reply = await client.post(path, json=body)
    if reply.status_code != 200:
        raise ServerFailed(f"{client.base_url}{path} answered {reply.status_code}: {reply.text[:500]}")
    return reply.json()
