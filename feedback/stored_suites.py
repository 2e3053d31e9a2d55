"""Suites that somebody stored to name them in requests: by content hash, each owner's own unless they are public."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from feedback.errors import TooManySuites

MOST = 10_000
"""Suites an owner."""
LISTED = 1_000
"""Of a list, the newest."""
NOBODY = ""
"""The owner where no keys are in use."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredSuite:
    """Test code and who may use it. `id` and `owner` name it: the same content may be several owners'."""

    id: str
    """`sandbox.suite_hash` of it."""
    owner: str
    """A key's id, or `NOBODY`."""
    created_at: datetime
    code: str
    entry_point: str | None = None
    """For requests that name none."""
    visible: bool = True
    """False: nobody is shown its code, its owner neither."""
    public: bool = False
    """Other keys may use it."""


class SuiteStore(Protocol):
    """Where suites are kept."""

    async def put_suite(self, suite: StoredSuite) -> bool:
        """Store it, or, where its owner has the same content already, what else is said of it; whether it is new.

        Raises `TooManySuites`, `StoreFailed`.
        """
        ...

    async def suite(self, suite_id: str, owner: str) -> StoredSuite | None:
        """The owner's suite of this content, else a public one; None where there is neither. Raises `StoreFailed`."""
        ...

    async def suites(self, owner: str) -> list[StoredSuite]:
        """The owner's, then public ones of others, the newest first of each, `LISTED` at most. Raises `StoreFailed`."""
        ...


class SuitesInMemory:
    """`SuiteStore` without a disk, for `InMemoryStore`."""

    def __init__(self) -> None:
        self._suites: dict[tuple[str, str], StoredSuite] = {}

    async def put_suite(self, suite: StoredSuite) -> bool:
        """See `SuiteStore.put_suite`."""
        name = (suite.id, suite.owner)
        new = name not in self._suites
        if new and sum(owner == suite.owner for _, owner in self._suites) >= MOST:
            raise TooManySuites(MOST)
        self._suites[name] = suite
        return new

    async def suite(self, suite_id: str, owner: str) -> StoredSuite | None:
        """See `SuiteStore.suite`."""
        public = [suite for suite in await self.suites(owner) if suite.id == suite_id]
        return public[0] if public else None

    async def suites(self, owner: str) -> list[StoredSuite]:
        """See `SuiteStore.suites`."""
        found = [suite for suite in self._suites.values() if suite.public or suite.owner == owner]
        found.sort(key=lambda suite: suite.created_at, reverse=True)
        return sorted(found, key=lambda suite: suite.owner != owner)[:LISTED]
