"""The story of a load: find the server, follow the plan, wait for who is still being answered, and count."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime

import httpx
from prometheus_client.parser import text_string_to_metric_families

from bench.errors import InvalidOption, ServerFailed
from bench.load.client import Answer, ask
from bench.load.result import Cancels, Load, classes_of, in_buckets, percentiles
from bench.load.traffic import Mix, Shot, plan
from bench.progress import Progress
from reranker.evaluation import load_suite, this_host

DRAIN_S = 30.0
"""How long answers are waited for once nothing more is sent."""
_METRIC = "touchstone_cancel_latency_seconds"
_SAY_EVERY_S = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The server, and as whom."""

    url: str
    """With its `/v1`."""
    key: str | None = None
    model: str | None = None
    """None: the first it lists."""


async def put_under_load(target: Target, mix: Mix) -> Load:
    """Follow the plan of this mix. Raises `InvalidOption` and `ServerFailed` before anything is sent."""
    _check(mix)
    headers = {"X-Purpose": "eval", "X-Priority": "as-you-type"}
    """Logged as no traffic, so that nothing is trained on it, yet served like traffic."""
    if target.key:
        headers["Authorization"] = f"Bearer {target.key}"
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=64)
    timeout = httpx.Timeout(600.0, connect=10.0)
    async with httpx.AsyncClient(base_url=target.url, headers=headers, limits=limits, timeout=timeout) as client:
        model = await _model(client, target)
        before = await _stopped(client)
        mix = replace(mix, reranks=before is not None and mix.reranks)
        gaps = [problem for problem in load_suite("bundled-fim").problems if problem.canonical_solution]
        answers = await _followed(client, plan(mix, model, gaps, load_suite("bundled").problems), mix.seconds)
        after = await _stopped(client)
    return Load(
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        url=target.url,
        model=model,
        host=this_host(),
        settings=asdict(mix),
        classes=classes_of(answers, mix.seconds),
        late_s=percentiles([answer.late_s for answer in answers]),
        cancels=_between(before, after),
    )


def _check(mix: Mix) -> None:
    for name, least in (("typists", 0), ("chats_per_s", 0), ("best_per_s", 0), ("candidates", 1)):
        if getattr(mix, name) < least:
            raise InvalidOption(name, f"must be at least {least}, not {getattr(mix, name)}")
    if mix.seconds <= 0:
        raise InvalidOption("seconds", "must be over 0")
    if not (mix.typists or mix.chats_per_s or mix.best_per_s):
        raise InvalidOption("typists", "nothing would be sent: of typists, chats and best-of-n requests all are 0")


async def _model(client: httpx.AsyncClient, target: Target) -> str:
    """The model to ask. Raises `ServerFailed`, naming the address, where nothing like OpenAI's API answers."""
    try:
        reply = await client.get("models")
        reply.raise_for_status()
        listed = [str(each["id"]) for each in reply.json()["data"]]
    except httpx.InvalidURL as error:
        raise InvalidOption("url", f"{target.url!r}: {error}") from error
    except httpx.HTTPStatusError as error:
        status = error.response.status_code
        hint = {401: "; give a key", 404: "; does the address end in /v1?"}.get(status, "")
        raise ServerFailed(f"url: {target.url}/models answers {status}{hint}") from error
    except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
        raise ServerFailed(f"url: {target.url}/models does not answer as OpenAI's API: {error!r}") from error
    if target.model is None and not listed:
        raise ServerFailed(f"url: {target.url} lists no model; name one with --model")
    return target.model or listed[0]


async def _stopped(client: httpx.AsyncClient) -> dict[float, float] | None:
    """The histogram of cancels, by upper edge; None where the server has none or does not show it."""
    root = str(client.base_url).rstrip("/").removesuffix("/v1")
    try:
        reply = await client.get(f"{root}/metrics")
    except httpx.HTTPError:
        return None
    if reply.status_code != httpx.codes.OK or f"# TYPE {_METRIC} " not in reply.text:
        return None
    samples = [each for family in text_string_to_metric_families(reply.text) for each in family.samples]
    return {float(each.labels["le"]): each.value for each in samples if each.name == f"{_METRIC}_bucket"}


def _between(before: Mapping[float, float] | None, after: Mapping[float, float] | None) -> Cancels | None:
    if before is None or after is None:
        return None
    return in_buckets({edge: count - before.get(edge, 0.0) for edge, count in after.items()})


async def _followed(client: httpx.AsyncClient, shots: Sequence[Shot], seconds: float) -> list[Answer]:
    """Every request is a task that wakes when it is due; what is unfinished `DRAIN_S` after the end is given up."""
    began_s = time.perf_counter()
    asked = [asyncio.create_task(ask(client, shot, began_s)) for shot in shots]
    progress = Progress()
    try:
        while pending := [task for task in asked if not task.done()]:
            spent_s = time.perf_counter() - began_s
            if spent_s > seconds + DRAIN_S:
                for task in pending:
                    task.cancel()
            progress.say("load:", _standing(asked, shots, spent_s, seconds))
            await asyncio.wait(pending, timeout=_SAY_EVERY_S)
    finally:
        progress.end()
        for task in asked:
            task.cancel()
    return [task.result() for task in asked]


def _standing(asked: Sequence[asyncio.Task[Answer]], shots: Sequence[Shot], spent_s: float, seconds: float) -> str:
    """Where it is, and what has become of what was sent."""
    ends = Counter(task.result().end.value for task in asked if task.done())
    sent = sum(shot.at_s <= spent_s for shot in shots)
    told = ", ".join(f"{number} {end}" for end, number in ends.items())
    return f"{min(spent_s, seconds):.0f} of {seconds:.0f} s, {sent} sent, {sent - ends.total()} under way; {told}"
