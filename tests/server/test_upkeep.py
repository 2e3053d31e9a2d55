"""The log keeps its days, by the server itself; requests are not held up."""

import asyncio
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from feedback import InMemoryStore, SqlStore, StoreFailed
from server.config import ConfigError, load
from server.upkeep import Upkeep
from tests.feedback.records import exchange


async def test_what_is_too_old_goes_while_others_write(tmp_path: Path) -> None:
    store = SqlStore.open(tmp_path / "log.db")
    now = datetime.now(UTC)
    await asyncio.gather(
        *(store.record(replace(exchange(n), created_at=now - timedelta(days=1 + n % 10))) for n in range(1000))
    )
    keeping = asyncio.create_task(Upkeep(store, 5).watch())
    slowest_s, written = 0.0, 0
    while await store.count() - written > 500:
        began = time.perf_counter()
        await store.record(replace(exchange(written), created_at=now))
        slowest_s = max(slowest_s, time.perf_counter() - began)
        written += 1
    assert written > 1, "the first record waited for all of it"
    keeping.cancel()
    await asyncio.wait([keeping])
    ages = [(now - each.created_at).days async for each, _ in store.exchanges()]
    assert max(ages) <= 5
    await store.aclose()
    print(f"{written} records meanwhile, the slowest took {slowest_s:.3f} s")


async def test_it_looks_again_and_outlives_a_failing_log(caplog: pytest.LogCaptureFixture) -> None:
    store = InMemoryStore()
    await store.record(exchange(1))
    keeping = asyncio.create_task(Upkeep(store, 1).watch(every_s=0.001))
    while store._exchanges:  # noqa: ASYNC110 - what is waited for tells nobody
        await asyncio.sleep(0.001)
    await store.record(exchange(2))
    while store._exchanges:  # noqa: ASYNC110
        await asyncio.sleep(0.001)
    await store.aclose()
    while "could not be deleted" not in caplog.text:  # noqa: ASYNC110
        await asyncio.sleep(0.001)
    assert not keeping.done()
    keeping.cancel()
    await asyncio.wait([keeping])
    with pytest.raises(StoreFailed):
        await Upkeep(store, 1).prune(1)


async def test_without_days_everything_is_kept() -> None:
    store = InMemoryStore()
    await store.record(exchange(1))
    await Upkeep(store, None).watch()
    assert len(store._exchanges) == 1


def test_days_are_checked() -> None:
    assert load(None, {"feedback": {"keep_days": 90}}).feedback.keep_days == 90
    with pytest.raises(ConfigError, match=r"feedback\.keep_days"):
        load(None, {"feedback": {"keep_days": 0.5}})
