"""Traffic: users who ask for functions and say by which tests they will judge them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import httpx

from reranker.evaluation import Problem
from trainer.errors import DemoFailed

USERS = 4
"""Requests at a time."""


async def send(
    client: httpx.AsyncClient, problems: Sequence[Problem], candidates: int, told: Callable[[int, int], None]
) -> int:
    """Ask for every problem, reranked by its tests; how many replies passed them all. Raises `DemoFailed`."""
    todo = iter(problems)
    done = solved = 0

    async def user() -> None:
        nonlocal done, solved
        for problem in todo:
            passed = await _ask(client, problem, candidates)
            solved += passed
            done += 1
            told(done, len(problems))

    try:
        async with asyncio.TaskGroup() as users:
            for _ in range(USERS):
                users.create_task(user())
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None
    return solved


async def _ask(client: httpx.AsyncClient, problem: Problem, candidates: int) -> bool:
    body = {
        "prompt": problem.prompt,
        "max_tokens": 192,
        "rerank": {
            "method": "tests",
            "num_candidates": candidates,
            "early_exit": "off",
            "tests": {"code": problem.test, "entry_point": problem.entry_point, "timeout_ms": 4000, "visible": False},
        },
    }
    try:
        reply = await client.post("/v1/completions", json=body)
    except httpx.HTTPError as error:
        raise DemoFailed(f"{problem.task_id}: the server gave no answer: {error!r}") from error
    if reply.status_code != 200:
        raise DemoFailed(f"{problem.task_id}: {reply.status_code}: {reply.text[:500]}")
    return bool(reply.json()["choices"][0]["rerank"]["class"] == "pass")
