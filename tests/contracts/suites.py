"""What every store of suites must do. Subclass `SuiteContract` in a test file and give it a `store` fixture."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

from feedback import StoredSuite, SuiteStore
from tests.feedback.records import BEGIN


def stored(id: str = "b2:1", owner: str = "key-a", minutes: int = 0, **what: object) -> StoredSuite:  # noqa: A002
    """A suite of somebody's."""
    suite = StoredSuite(id=id, owner=owner, created_at=BEGIN + timedelta(minutes=minutes), code="assert f()\0\ud800")
    return replace(suite, **what)  # type: ignore[arg-type]


class SuiteContract:
    """The laws of the port."""

    async def test_what_is_put_is_given_back_and_put_once(self, store: SuiteStore) -> None:
        suite = stored(entry_point="f", visible=False)
        assert await store.put_suite(suite)
        assert await store.suite("b2:1", "key-a") == suite
        changed = replace(suite, public=True, visible=True, entry_point=None)
        assert not await store.put_suite(changed)
        assert await store.suites("key-a") == [changed]

    async def test_anothers_is_found_only_where_it_is_public(self, store: SuiteStore) -> None:
        await store.put_suite(stored())
        assert await store.suite("b2:1", "key-b") is None
        assert await store.suites("key-b") == []
        public = stored("b2:2", public=True)
        await store.put_suite(public)
        assert await store.suite("b2:2", "key-b") == public
        assert await store.suites("key-b") == [public]

    async def test_ones_own_goes_before_anothers_of_the_same_content(self, store: SuiteStore) -> None:
        theirs, own = stored(public=True, minutes=1), stored(owner="key-b", visible=False)
        assert await store.put_suite(theirs)
        assert await store.put_suite(own)
        assert await store.suite("b2:1", "key-b") == own
        assert await store.suites("key-b") == [own, theirs]

    async def test_the_newest_first(self, store: SuiteStore) -> None:
        for minutes in (1, 3, 2):
            await store.put_suite(stored(f"b2:{minutes}", minutes=minutes))
        assert [suite.id for suite in await store.suites("key-a")] == ["b2:3", "b2:2", "b2:1"]

    async def test_the_same_put_by_many_at_once_is_new_once(self, store: SuiteStore) -> None:
        assert sum(await asyncio.gather(*(store.put_suite(stored()) for _ in range(20)))) == 1
