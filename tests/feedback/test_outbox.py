"""The outbox: nothing acknowledged is lost while the log's server is away, and nothing comes twice when it is back.

A SQLite file stands in for the server where only its being there or not matters; `postgres` tests have a real one.
"""

import asyncio
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from bench.process import scripted, serving
from feedback import (
    Exchange,
    ForeignExchange,
    OutboxStore,
    SqlStore,
    StoreFailed,
    StoreUnavailable,
    UnknownChoice,
    UnknownExchange,
    peek,
)
from feedback.verify import problems
from tests.feedback.postgres import Cluster
from tests.feedback.records import exchange, signal

NOWHERE = "postgresql://nobody@/log?host=/nowhere"


def away(folder: Path) -> OutboxStore:
    """Its server cannot be reached, ever."""
    pytest.importorskip("psycopg", reason="psycopg is not installed (the extra `postgres`)")
    return OutboxStore.open(NOWHERE, folder / "outbox.db", retry_s=0.01)


def back(folder: Path) -> OutboxStore:
    """The same outbox; its server can be reached, but was not yet."""
    return OutboxStore(f"sqlite:///{folder / 'server.db'}", None, folder / "outbox.db", 0.01)


async def until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < end
        await asyncio.sleep(0.01)


async def logged(store: SqlStore) -> tuple[list[Exchange], int]:
    """All of its exchanges, and how many signals hang on them."""
    found = [each async for each in store.exchanges()]
    assert [problem async for problem in problems(store)] == []
    return [each for each, _ in found], sum(len(said) for _, said in found)


async def test_what_was_taken_in_outlives_the_process_and_arrives_once(tmp_path: Path) -> None:
    asked = [exchange(number, key_id="me") for number in range(230)]  # more than two pages
    first = away(tmp_path)
    await first.resume()
    await asyncio.gather(*(first.record(each) for each in asked))
    receipt = await first.signal(signal(asked[0], idempotency_key="k"), key_id="me")
    repeat = await first.signal(signal(asked[0], idempotency_key="k"), key_id="me")
    assert (repeat.id, repeat.duplicate) == (receipt.id, True)
    assert first.waiting == peek(f"sqlite:///{tmp_path / 'outbox.db'}").exchanges == 230
    assert (await first.get(asked[0].id))[0] == asked[0]
    await first.aclose()
    second = back(tmp_path)
    await second.resume()
    await until(lambda: second.waiting == 0 and not second._away)
    assert (await second.get(asked[0].id))[1][0].id == receipt.id
    assert (await second.signal(signal(asked[0], idempotency_key="k"), key_id="me")).duplicate
    await second.record(exchange(300))
    assert second.waiting == 0
    await second.aclose()
    server = SqlStore.open(tmp_path / "server.db")
    exchanges, signals = await logged(server)
    assert (exchanges[:-1], signals) == (asked, 1)
    await server.aclose()


async def test_what_is_said_of_what_cannot_be_seen_is_refused_for_now(tmp_path: Path) -> None:
    store = away(tmp_path)
    kept = exchange(1, key_id="me")
    await store.record(kept)
    with pytest.raises(StoreUnavailable, match="later"):
        await store.signal(signal(exchange(2)))
    with pytest.raises(StoreUnavailable, match="later"):  # all or none
        await store.signals([signal(kept), signal(exchange(2))], key_id="me")
    with pytest.raises(ForeignExchange):
        await store.signal(signal(kept), key_id="you")
    with pytest.raises(UnknownChoice):
        await store.signal(signal(kept, choice=2), key_id="me")
    for question in (store.get("nobody"), store.outcomes(kept.created_at)):
        with pytest.raises(StoreUnavailable):
            await question
    assert (await store.get(kept.id)) == (kept, ())
    await store.aclose()
    with pytest.raises(StoreFailed, match="closed"):
        await store.record(exchange(3))


async def test_the_server_is_back_and_some_still_waits(tmp_path: Path) -> None:
    server = SqlStore.open(tmp_path / "server.db")
    store = OutboxStore("", server, tmp_path / "outbox.db", 60)
    there, waits = exchange(1), exchange(2)
    await server.record(there)
    await store._outbox.record(waits)
    await store.signal(signal(there))
    await store.signal(signal(waits))
    with pytest.raises(StoreUnavailable):
        await store.signals([signal(there), signal(waits)])
    with pytest.raises(UnknownExchange):
        await store.signal(signal(exchange(3)))
    with pytest.raises(UnknownExchange):
        await store.get("nobody")
    await store.resume()
    await until(lambda: store.waiting == 0)
    assert [receipt.duplicate for receipt in await store.signals([signal(there), signal(waits)])] == [False, False]
    assert await logged(server) == ([there, waits], 4)
    await store.aclose()


async def test_a_record_that_the_server_refuses_stays_and_holds_up_no_other(tmp_path: Path) -> None:
    server = SqlStore.open(tmp_path / "server.db")
    asked = [exchange(number) for number in range(150)]
    with server._writing.begin() as connection:
        rule = f"CREATE TRIGGER no BEFORE INSERT ON exchanges WHEN NEW.id = '{asked[7].id}'"
        connection.exec_driver_sql(f"{rule} BEGIN SELECT RAISE(ABORT, 'no'); END")
    outbox = SqlStore.open(tmp_path / "outbox.db")
    await asyncio.gather(*(outbox.record(each) for each in asked))
    await outbox.aclose()
    store = OutboxStore("", server, tmp_path / "outbox.db", 0.01)
    await store.resume()
    await until(lambda: store.waiting == 1)
    assert await server.count() == 149
    assert (await store.get(asked[7].id))[0] == asked[7]
    await store.aclose()


async def test_a_signal_that_comes_while_its_exchange_is_copied_is_not_lost(tmp_path: Path) -> None:
    outbox = SqlStore.open(tmp_path / "outbox.db")
    asked = exchange(1)
    await outbox.record(asked)
    await outbox.signal(signal(asked))
    page = await outbox.page()
    late = signal(asked, "reject")
    await outbox.signal(late)
    assert await outbox.delete_copied(page) == 0
    assert await outbox.page() == [(asked, (late,))]
    assert await outbox.delete_copied(await outbox.page()) == 1
    assert await outbox.count() == 0
    await outbox.aclose()


def test_without_the_driver_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(StoreFailed, match=r"pip install 'touchstone\[postgres\]'"):
        OutboxStore.open(NOWHERE, tmp_path / "outbox.db")


@pytest.mark.postgres
async def test_a_server_killed_and_restarted_under_load(cluster: Cluster, tmp_path: Path) -> None:
    url = cluster.new_database()
    store = OutboxStore.open(url, tmp_path / "outbox.db", retry_s=0.05)
    await store.resume()
    asked: list[Exchange] = []
    said: list[str] = []
    refused: list[StoreUnavailable] = []
    slowest_s = 0.0
    done = False

    async def client(number: int) -> None:
        nonlocal slowest_s
        while not done:
            each = exchange(len(asked), key_id=f"key{number}")
            began = time.perf_counter()
            await store.record(each)  # it must never fail
            slowest_s = max(slowest_s, time.perf_counter() - began)
            asked.append(each)
            try:
                said.append((await store.signal(signal(each), key_id=f"key{number}")).id)
            except StoreUnavailable as error:
                refused.append(error)

    clients = [asyncio.create_task(client(number)) for number in range(8)]
    for _ in range(3):
        seen = len(asked)
        await until(lambda seen=seen: len(asked) > seen + 50)  # type: ignore[misc]
        await asyncio.to_thread(cluster.kill)
        seen = len(asked)
        await until(lambda seen=seen: len(asked) > seen + 50)  # type: ignore[misc]
        assert store.waiting > 0
        await asyncio.to_thread(cluster.start)
        await until(lambda: store.waiting == 0 and not store._away)
    done = True
    await asyncio.gather(*clients)
    await until(lambda: store.waiting == 0 and not store._away)
    await store.aclose()
    server = SqlStore.open(url)
    found = {each.id: (each, theirs) async for each, theirs in server.exchanges()}
    assert {each.id for each in asked} <= found.keys()
    assert all(found[each.id][0] == replace(each) for each in asked)
    kept = [one.id for _, theirs in found.values() for one in theirs]
    assert set(said) <= set(kept)
    assert len(kept) == len(set(kept))
    assert [problem async for problem in problems(server)] == []
    await server.aclose()
    print(f"{len(asked)} exchanges, {len(said)} signals, {len(refused)} refused for now, slowest {slowest_s:.3f} s")


@pytest.mark.postgres
async def test_begun_while_the_server_is_away(cluster: Cluster, tmp_path: Path) -> None:
    url = cluster.new_database()
    cluster.kill()
    store = OutboxStore.open(url, tmp_path / "outbox.db", retry_s=0.05)
    await store.resume()
    asked = exchange(1)
    await store.record(asked)
    with pytest.raises(StoreUnavailable):
        peek(url)
    cluster.start()
    await until(lambda: store.waiting == 0 and not store._away)
    assert await store.get(asked.id) == (asked, ())
    assert peek(url).exchanges == 1
    assert peek(url).is_newest
    await store.aclose()


@pytest.mark.postgres
async def test_completions_go_on_while_the_server_is_away(cluster: Cluster, tmp_path: Path) -> None:
    url = cluster.new_database()
    config = scripted(tmp_path)
    config.write_text(config.read_text() + f'[feedback]\ndatabase_url = "{url}"\n')
    body = {"model": "scripted", "prompt": "hello", "rerank": {"method": "likelihood", "num_candidates": 2}}
    answered: list[str] = []
    said: list[str] = []
    statuses: Counter[int] = Counter()
    done = False

    async def client(http: httpx.AsyncClient) -> None:
        while not done:
            reply = await http.post("/v1/completions", json=body)
            assert reply.status_code == 200, reply.text
            answered.append(reply.json()["id"])
            receipt = await http.post("/v1/feedback", json={"id": answered[-1], "type": "accept"})
            statuses[receipt.status_code] += 1
            if receipt.status_code == 202:
                said.append(receipt.json()["id"])
            else:
                assert (receipt.status_code, receipt.headers["retry-after"]) == (503, "1"), receipt.text

    with serving(tmp_path / "state", "--config", str(config)) as served:
        async with httpx.AsyncClient(base_url=served.url, timeout=30) as http:

            async def waiting() -> int:
                page = (await http.get("/metrics", params={"name[]": "touchstone_outbox_exchanges"})).text
                return int(float(page.split()[-1]))

            clients = [asyncio.create_task(client(http)) for _ in range(4)]
            for wanted in (50, 100):
                await until(lambda wanted=wanted: len(answered) > wanted)  # type: ignore[misc]
                if wanted == 50:
                    await asyncio.to_thread(cluster.kill)
            assert await waiting() > 0
            await asyncio.to_thread(cluster.start)
            while await waiting():  # noqa: ASYNC110 - it is another process's
                await asyncio.sleep(0.05)
            done = True
            await asyncio.gather(*clients)
    server = SqlStore.open(url)
    found = {each.id: theirs async for each, theirs in server.exchanges()}
    assert set(answered) <= found.keys()
    assert set(said) <= {one.id for theirs in found.values() for one in theirs}
    await server.aclose()
    assert peek(f"sqlite:///{tmp_path / 'state' / 'outbox.db'}").exchanges == 0
    print(f"{len(answered)} completions, none refused; feedback {dict(statuses)}")
