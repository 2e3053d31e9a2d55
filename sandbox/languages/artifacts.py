"""What compilers made, kept in memory: the same source is compiled once."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from sandbox.outcome import Status

_ENTRY_BYTES = 500
"""What one entry takes besides its files and its message."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """The result of one compilation: files, or why there are none."""

    files: Mapping[str, bytes] = field(default_factory=dict)
    status: Status | None = None
    """None: it compiled."""
    message: str = ""
    cpu_s: float = 0.0
    wall_s: float = 0.0

    @property
    def size_bytes(self) -> int:
        return _ENTRY_BYTES + len(self.message) + sum(map(len, self.files.values()))


def key_of(*parts: str) -> bytes:
    """A key: equal for equal parts in the same order."""
    return hashlib.blake2b(json.dumps(parts).encode("ascii"), digest_size=16).digest()


class Artifacts:
    """The results of the latest compilations, within `most_bytes` of memory. Belongs to one event loop."""

    def __init__(self, most_bytes: int = 64 * 1024 * 1024) -> None:
        self._most_bytes = most_bytes
        self._known: OrderedDict[bytes, Artifact] = OrderedDict()
        self._locks: dict[bytes, tuple[asyncio.Lock, int]] = {}
        self.size_bytes = 0
        self.hits = 0
        self.misses = 0

    async def get(self, key: bytes, make: Callable[[], Awaitable[Artifact]]) -> Artifact:
        """The artifact of a key, made if it is not there. Who asks meanwhile waits for the one that is being made."""
        async with self._alone(key):
            known = self._known.get(key)
            if known is not None:
                self._known.move_to_end(key)
                self.hits += 1
                return known
            self.misses += 1
            made = await make()
            # A limit met on a busy host says nothing of the next time.
            if made.status in (None, Status.COMPILE_ERROR):
                self._keep(key, made)
            return made

    def _keep(self, key: bytes, made: Artifact) -> None:
        if made.size_bytes > self._most_bytes // 2:
            return
        self._known[key] = made
        self.size_bytes += made.size_bytes
        while self.size_bytes > self._most_bytes:
            _, oldest = self._known.popitem(last=False)
            self.size_bytes -= oldest.size_bytes

    @asynccontextmanager
    async def _alone(self, key: bytes) -> AsyncIterator[None]:
        lock, waiting = self._locks.get(key, (asyncio.Lock(), 0))
        self._locks[key] = lock, waiting + 1
        try:
            async with lock:
                yield
        finally:
            lock, waiting = self._locks[key]
            self._locks[key] = lock, waiting - 1
            if waiting == 1:
                del self._locks[key]
