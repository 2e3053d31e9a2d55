"""What clients do in a rehearsal: all kinds of requests for the dashboard, and those that alerts are about."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import httpx

from bench.overload import PLAIN, TYPED

Act = Callable[[httpx.AsyncClient, int], Awaitable[object]]
TOTAL = 'def total_above_{0}(numbers):\n    """Keep the numbers above {0} and return their sum.\n    """\n'


async def repeat(url: str, act: Act, *, pause_s: float, clients: int = 1) -> None:
    """So many clients act, each again after a pause, until cancelled. What a server refuses is what is wanted here."""
    async with httpx.AsyncClient(base_url=url, timeout=60) as client:

        async def one(first: int) -> None:
            for number in range(first, 10**9, clients):
                try:
                    await act(client, number)
                except httpx.TransportError:
                    await asyncio.sleep(0.2)  # it is being ended, or refuses by closing
                await asyncio.sleep(pause_s)

        await asyncio.gather(*(one(first) for first in range(clients)))


async def complete(client: httpx.AsyncClient, body: dict[str, Any], **headers: str) -> dict[str, Any]:
    """The reply's JSON, whatever its status."""
    reply = await client.post("/v1/completions", json=body, headers=headers)
    page: dict[str, Any] = reply.json()
    return page


async def judged(client: httpx.AsyncClient, number: int) -> None:
    """A completion that its prompt's example decides; the user takes it, or does not, or says nothing.

    Each is a session of its own: a canary is given to sessions.
    """
    page = await complete(client, PLAIN[number % len(PLAIN)], **{"X-Session-Id": f"editor-{number}"})
    if "id" in page and number % 3:
        said = {"id": page["id"], "choice": 0, "type": "accept" if number % 3 == 1 else "reject"}
        await client.post("/v1/feedback", json=said)


async def told(client: httpx.AsyncClient, _: int) -> None:
    """Many things said of one answer."""
    page = await complete(client, PLAIN[0] | {"rerank": {"method": "off"}})
    for stars in range(40 if "id" in page else 0):
        said = {"id": page["id"], "choice": 0, "type": "rating", "value": 1 + stars % 5}
        await client.post("/v1/feedback", json=said)


async def verified(client: httpx.AsyncClient, number: int) -> None:
    """Tests of the client's own, every candidate run, a verifier among the judges."""
    above = 2 + number % 6
    tests = {"code": f"assert total_above_{above}([1, {above}, 9, 10]) == 19"}
    rerank = {"method": "verifier", "num_candidates": 8, "tests": tests, "early_exit": "off"}
    await complete(client, {"prompt": TOTAL.format(above), "rerank": rerank})


async def hurried(client: httpx.AsyncClient, number: int) -> None:
    """A deadline that comes before the last candidate."""
    rerank = {"num_candidates": 64, "deadline_ms": 150, "early_exit": "off"}
    await complete(client, PLAIN[number % len(PLAIN)] | {"rerank": rerank})


async def typing(client: httpx.AsyncClient, number: int) -> None:
    """A gap, by both routes of gaps; the editor shows it and the user takes it."""
    gap = TYPED[number % len(TYPED)]
    await client.post("/infill", json={"input_prefix": gap["prompt"], "input_suffix": gap["suffix"], "n_predict": 24})
    fim = {"prompt": gap["prompt"], "suffix": gap["suffix"], "max_tokens": 24}
    page = (await client.post("/v1/fim/completions", json=fim)).json()
    view = {"completion_id": page.get("id"), "choice_index": 0, "view_id": str(uuid.uuid4())}
    for word in ("view", "select") if number % 2 else ("view",):
        await client.post("/v1/events", json=view | {"type": word})


async def talking(client: httpx.AsyncClient, _: int) -> None:
    """A streamed chat."""
    body = {"messages": [{"role": "user", "content": "Write a function called longest."}], "stream": True}
    async with client.stream("POST", "/v1/chat/completions", json=body) as reply:
        async for _line in reply.aiter_lines():
            pass


async def leaving(client: httpx.AsyncClient, number: int) -> None:
    """A stream whose reader goes away after its first line, and a request that is cancelled by its id."""
    body = PLAIN[number % len(PLAIN)] | {"stream": True, "n": 8, "max_tokens": 256, "rerank": {"method": "off"}}
    async with client.stream("POST", "/v1/completions", json=body) as reply:
        async for _line in reply.aiter_lines():
            break
    name = f"leaving-{number}"
    rerank = {"num_candidates": 64, "early_exit": "off"}
    asked = asyncio.ensure_future(complete(client, PLAIN[0] | {"rerank": rerank}, **{"X-Request-Id": name}))
    await asyncio.sleep(0.1)
    await client.post(f"/v1/requests/{name}/cancel")
    await asyncio.wait((asked,))


async def editing(client: httpx.AsyncClient, number: int) -> None:
    """Continue's events: of an answer that was given, and of two that this server never gave."""
    gap = TYPED[number % len(TYPED)]
    page = await complete(client, gap | {"max_tokens": 24})
    if "choices" not in page:
        return  # it was refused: the server is busy
    events = [
        event(f"{number}", str(gap["prompt"]), str(gap["suffix"]), page["choices"][0]["text"]),
        *(event(f"{number}-{other}", f"def other_{number}_{other}(", ")", "nobody wrote this") for other in range(2)),
    ]
    await client.post("/v1/dev-data", json=events)


def event(number: str, prefix: str, suffix: str, shown: str) -> dict[str, Any]:
    """As Continue posts it."""
    data = {
        "eventName": "autocomplete",
        "schema": "0.2.0",
        "accepted": True,
        "completion": shown,
        "completionId": number,
        "prefix": prefix,
        "suffix": suffix,
        "prompt": f"<fim_prefix>{prefix}<fim_suffix>{suffix}<fim_middle>",
    }
    return {"name": "autocomplete", "data": data, "schema": "0.2.0", "level": "all", "profileId": "local"}


def scripted(prompt: str) -> Act:
    """A plain completion of this prompt."""

    async def act(client: httpx.AsyncClient, _: int) -> None:
        await complete(client, {"prompt": prompt, "rerank": {"method": "off"}})

    return act


async def crowding(client: httpx.AsyncClient, number: int) -> None:
    """More than a queue of one place holds, with more to run than a sandbox of one slot takes."""
    await complete(client, PLAIN[number % len(PLAIN)] | {"rerank": {"num_candidates": 16, "early_exit": "off"}})


async def unlogged(client: httpx.AsyncClient, _: int) -> None:
    """What goes to the outbox, and feedback that cannot be checked while the database is away."""
    await complete(client, {"prompt": "hello", "rerank": {"method": "off"}})
    await client.post("/v1/feedback", json={"id": f"cmpl-{uuid.uuid4()}", "choice": 0, "type": "accept"})
