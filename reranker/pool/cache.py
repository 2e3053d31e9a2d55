"""Outcomes are kept: a program that ran on a suite under some limits never runs there again, whatever asks for it."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from engine import touchstone_version
from reranker.evaluation.errors import UnreadableFile
from sandbox import NOBODYS, Limits, OnTest, Outcome, Program, Sandbox, Status, Suite, TestOutcome, Whose, suite_hash

_TABLE = "CREATE TABLE IF NOT EXISTS outcome (key BLOB PRIMARY KEY, body BLOB NOT NULL) WITHOUT ROWID"
_OUTCOME = tuple(each.name for each in fields(Outcome))
_TEST = tuple(each.name for each in fields(TestOutcome))
_BUSY_S = 60.0
_HELD_SUITES = 64


class CachedSandbox:
    """A `Sandbox` that asks a file before it asks another sandbox, and tells the file what that one said.

    Errors are never kept. Each outcome is in the file before it is given back; several processes may share one.
    """

    def __init__(self, inner: Sandbox, path: Path) -> None:
        """Opens the file where it is there; else the first run makes it.

        Raises `UnreadableFile` for one that is no cache, or cannot be written.
        """
        self._inner, self._path = inner, path
        self.ran = 0
        """Runs that the other sandbox was asked for."""
        self._suites: dict[int, tuple[Suite, str]] = {}
        self._connection: sqlite3.Connection | None = None
        if path.exists():
            with self._translated():
                self._open()

    async def run(
        self,
        program: Program,
        suite: Suite,
        limits: Limits,
        on_test: OnTest | None = None,
        *,
        whose: Whose = NOBODYS,
    ) -> Outcome:
        """See `Sandbox`."""
        name = self._key(program, suite, limits)
        with self._translated():
            found = self._open().execute("SELECT body FROM outcome WHERE key = ?", (name,)).fetchone()
        if found is not None:
            kept = _decode(found[0])
            if on_test is not None:
                for test in kept.tests:
                    on_test(test)
            return kept
        outcome = await self._inner.run(program, suite, limits, on_test, whose=whose)
        self.ran += 1
        with self._translated():
            self._open().execute("INSERT OR REPLACE INTO outcome VALUES (?, ?)", (name, _encode(outcome)))
        return outcome

    async def aclose(self) -> None:
        """Close the file and the other sandbox."""
        if self._connection is not None:
            self._connection.close()
        await self._inner.aclose()

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = sqlite3.connect(self._path, timeout=_BUSY_S, isolation_level=None)
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = NORMAL")
            self._connection.execute(_TABLE)
        return self._connection

    def _key(self, program: Program, suite: Suite, limits: Limits) -> bytes:
        # `observed` changes what an outcome says and not what a suite is, so that it is not in the suite's hash.
        what = [_FORMAT, asdict(program), self._hash(suite), getattr(suite, "observed", False), asdict(limits)]
        return hashlib.blake2b(json.dumps(what).encode("utf-8", "surrogatepass"), digest_size=16).digest()

    def _hash(self, suite: Suite) -> str:
        """A suite's hash; a hundred programs in a row ask for the same one's."""
        if id(suite) not in self._suites:
            if len(self._suites) >= _HELD_SUITES:
                self._suites.clear()
            self._suites[id(suite)] = suite, suite_hash(suite)  # held, so that its id stays its own
        return self._suites[id(suite)][1]

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise UnreadableFile(str(self._path), f"cannot be used as a cache of outcomes: {error}") from error


def _encode(outcome: Outcome) -> bytes:
    data = {name: getattr(outcome, name) for name in _OUTCOME}
    data["tests"] = [[getattr(test, name) for name in _TEST] for test in outcome.tests]
    return zlib.compress(json.dumps(data, separators=(",", ":")).encode(), 1)


def _decode(body: bytes) -> Outcome:
    data: dict[str, Any] = json.loads(zlib.decompress(body))
    data["tests"] = tuple(_test(values) for values in data["tests"])
    data["status"] = Status(data["status"])
    return Outcome(**data)


def _test(values: list[Any]) -> TestOutcome:
    given = dict(zip(_TEST, values, strict=True))
    given["status"] = Status(given["status"])
    return TestOutcome(**given)


_FORMAT = [touchstone_version(), _OUTCOME, _TEST]
"""Another version's sandbox may judge otherwise, and its records may hold other fields."""
