"""Switching models under load: does a request fail, does a reply mix two models, is the memory given back?

    python -m bench.switch [--switches 20] [--clients 8] [--way beside]

Two bundled models, the served one and the under-trained one, are made rounds 1 and 2 of one family. Clients ask
greedily, half of them streaming, while the champion is moved back and forth. What each model answers to each prompt is
asked first: a reply is known to be of one model by its text, header, name, fingerprint and log record.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from bench.process import Served, serving
from engine import Model, ModelStore, convert_folder
from feedback import SqlStore

PROMPTS = [
    f'def total_{word}_{k}(numbers):\n    """Keep the numbers {word} {k} and return their sum.\n    """\n'
    for word in ("above", "below")
    for k in (2, 3, 5, 7)
]
FAMILY, SIZE = "touchstone", "3.8m"
TOKENS = 64
SETTLE_S = 1.5


@dataclass
class Seen:
    """What the clients saw."""

    answers: int = 0
    streams: int = 0
    retried: int = 0
    failed: list[str] = field(default_factory=list)
    mixed: list[str] = field(default_factory=list)
    by_round: Counter[int] = field(default_factory=Counter)
    slowest_s: float = 0.0
    gap_s: float = 0.0
    """The longest time in which no client got anything."""
    ids: dict[str, int] = field(default_factory=dict)
    last_s: float = field(default_factory=time.perf_counter)

    def beat(self) -> None:
        """Something came."""
        now = time.perf_counter()
        self.gap_s, self.last_s = max(self.gap_s, now - self.last_s), now


def main() -> None:
    """Run it and print the figures; exit 1 if a request failed or a reply was mixed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--switches", type=int, default=20)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--way", choices=("beside", "after"), default="beside")
    parser.add_argument("--quiet-s", type=float, default=10.0, help="seconds of load without a switch, to compare with")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        sys.exit(asyncio.run(rehearse(Path(folder), args)))


def rounds(state: Path) -> tuple[Model, Model]:
    """The two models as rounds 1 and 2 of one family, in a new state folder; the first is champion."""
    store = ModelStore(state)
    made = []
    for number, name in ((1, "touchstone-3.8m"), (2, "touchstone-3.8m-early")):
        source = store.get(name)
        with store.add(family=FAMILY, size=SIZE, round=number, source=f"a copy of {name}") as draft:
            shutil.copytree(source.hf, draft.folder / "hf")
            if "int8" in source.manifest.conversions:
                shutil.copytree(source.conversion("int8"), draft.folder / "ct2-int8")
            else:
                convert_folder(source.hf, draft.folder / "ct2-int8", "int8")
        made.append(store.get(draft.id))
    store.set_champion("touchstone-3.8m", made[0].id)
    return made[0], made[1]


async def rehearse(folder: Path, args: argparse.Namespace) -> int:
    """The whole rehearsal; the process's exit code."""
    state, config = folder / "state", folder / "touchstone.toml"
    first, second = rounds(state)
    config.write_text(f'[server]\nswitch = "{args.way}"\nchampion_poll_s = 0.2\n')
    with serving(state, "--config", str(config), "--dtype", "int8") as served:
        expected = await answers(served.url, (first, second))
        differ = sum(expected[1][prompt] != expected[2][prompt] for prompt in PROMPTS)
        quiet = await under_load(served.url, args.clients, expected, asyncio.sleep(args.quiet_s))
        before = await settled(served)
        ids = [first.id, second.id]
        loud = await under_load(served.url, args.clients, expected, moves(served.url, ids, args.switches))
        after = await settled(served)
    wrong = await misrecorded(state, loud.ids)
    print(f"{args.switches} switches ({args.way}), {args.clients} clients; the models differ on {differ} of 8 prompts")
    print(f"answers: {loud.answers}, of them streams: {loud.streams}, by round: {dict(sorted(loud.by_round.items()))}")
    print(f"failed: {len(loud.failed)}, mixed: {len(loud.mixed)}, misrecorded: {wrong}, 503: {loud.retried}")
    print(f"memory (PSS): {before / 1e6:.1f} MB before, {after / 1e6:.1f} MB after: {after / before - 1:+.1%}")
    print(f"slowest answer: {quiet.slowest_s:.2f} s without switches, {loud.slowest_s:.2f} s with")
    print(f"longest time without a token: {quiet.gap_s:.3f} s without switches, {loud.gap_s:.3f} s with")
    print(f"ratio of the longest stalls: {loud.gap_s / quiet.gap_s:.1f}")
    for line in (*loud.failed, *loud.mixed)[:10]:
        print("  ", line)
    return 1 if loud.failed or loud.mixed or wrong or len(loud.by_round) < 2 else 0


async def answers(url: str, models: tuple[Model, Model]) -> dict[int, dict[str, str]]:
    """What each model answers, greedily, by round and prompt. The second is loaded for it, then let go."""
    found: dict[int, dict[str, str]] = {}
    async with httpx.AsyncClient(base_url=url, timeout=60) as client:
        await administer(client, action="switch", id=models[1].id)
        for model in models[::-1]:
            await administer(client, action="switch", id=model.id)
            texts = found[model.manifest.round] = {}
            for prompt in PROMPTS:
                reply = await client.post("/v1/completions", json=body_of(prompt))
                texts[prompt] = reply.raise_for_status().json()["choices"][0]["text"]
    return found


async def administer(client: httpx.AsyncClient, **action: Any) -> None:
    """One administrator's action. Raises `RuntimeError` with the server's words."""
    reply = await client.post("/admin/models", json=action)
    if reply.status_code != 200:
        raise RuntimeError(reply.text)


async def moves(url: str, ids: list[str], switches: int) -> None:
    """Move the champion back and forth, half of the times as an administrator, half by the pointer alone."""
    async with httpx.AsyncClient(base_url=url, timeout=60) as client:
        for number in range(switches):
            await administer(
                client, action="switch" if number % 2 else "rollback", **({"id": ids[0]} if number % 2 else {})
            )
            await asyncio.sleep(0.5)


async def under_load(url: str, clients: int, expected: dict[int, dict[str, str]], meanwhile: Any) -> Seen:
    """Ask until `meanwhile` is over."""
    seen, over = Seen(), asyncio.Event()
    asking = [asyncio.create_task(ask(url, number, seen, over, expected)) for number in range(clients)]
    try:
        await meanwhile
    finally:
        over.set()
        await asyncio.gather(*asking)
    return seen


async def ask(url: str, number: int, seen: Seen, over: asyncio.Event, expected: dict[int, dict[str, str]]) -> None:
    """One client, streaming if its number is odd."""
    async with httpx.AsyncClient(base_url=url, timeout=60) as client:
        turn = 0
        while not over.is_set():
            prompt = PROMPTS[(number + turn) % len(PROMPTS)]
            turn += 1
            began = time.perf_counter()
            try:
                one = await (streamed if number % 2 else plain)(client, prompt, seen)
            except (httpx.HTTPError, ValueError, KeyError) as error:
                seen.failed.append(repr(error))
                continue
            if one is None:
                continue
            seen.slowest_s = max(seen.slowest_s, time.perf_counter() - began)
            words, text, exchange = one
            seen.answers += 1
            if len(set(words)) != 1 or expected[words[0]][prompt] != text:
                seen.mixed.append(f"rounds {sorted(set(words))}, {text!r}")
            seen.by_round[words[0]] += 1
            seen.ids[exchange] = words[0]


Told = tuple[list[int], str, str]
"""Every round that the reply names, its text, its id."""


async def plain(client: httpx.AsyncClient, prompt: str, seen: Seen) -> Told | None:
    """A plain reply; None where the server said to come again."""
    reply = await client.post("/v1/completions", json=body_of(prompt))
    seen.beat()
    if await come_again(reply, seen):
        return None
    body = reply.raise_for_status().json()
    return [int(reply.headers["x-model-round"]), *rounds_in(body)], body["choices"][0]["text"], body["id"]


async def streamed(client: httpx.AsyncClient, prompt: str, seen: Seen) -> Told | None:
    """A streamed reply."""
    words, text, ended, exchange = [], "", False, ""
    async with client.stream("POST", "/v1/completions", json=body_of(prompt) | {"stream": True}) as reply:
        if await come_again(reply, seen):
            return None
        reply.raise_for_status()
        words.append(int(reply.headers["x-model-round"]))
        async for line in reply.aiter_lines():
            seen.beat()
            if line.startswith("event: error"):
                raise ValueError("an error event")
            if line == "data: [DONE]":
                ended = True
            elif line.startswith("data: "):
                chunk = json.loads(line[6:])
                words += rounds_in(chunk)
                text += "".join(choice["text"] for choice in chunk["choices"])
                exchange = chunk["id"]
    if not ended:
        raise ValueError("a stream without its end")
    seen.streams += 1
    return words, text, exchange


async def come_again(reply: httpx.Response, seen: Seen) -> bool:
    """Whether the server is exchanging its model and says so, with a time to come again after."""
    if reply.status_code != 503 or "retry-after" not in reply.headers:
        return False
    await reply.aread()
    if reply.json()["error"]["code"] != "switching":
        return False
    seen.retried += 1
    await asyncio.sleep(0.1)
    return True


def body_of(prompt: str) -> dict[str, Any]:
    """A greedy request, for whichever round is champion, by the name that round 1 has in every list."""
    return {
        "model": f"{FAMILY}:{SIZE}-int8.r1",
        "prompt": prompt,
        "temperature": 0,
        "max_tokens": TOKENS,
        "rerank": {"method": "off"},
    }


def rounds_in(body: dict[str, Any]) -> list[int]:
    """The rounds that a body names: in the model's name and in the fingerprint."""
    return [int(body[key].rpartition("r")[2]) for key in ("model", "system_fingerprint")]


async def settled(served: Served) -> int:
    """Memory once nothing runs any more and what was replaced is freed."""
    await asyncio.sleep(SETTLE_S)
    return served.memory_bytes


async def misrecorded(state: Path, ids: dict[str, int]) -> int:
    """How many answers have no record, or one of another round."""
    store = SqlStore.open(state / "touchstone.db")
    logged = {exchange.id: exchange.round async for exchange, _ in store.exchanges()}
    await store.aclose()
    return sum(logged.get(exchange) != round_ for exchange, round_ in ids.items())


if __name__ == "__main__":
    main()
