"""Records brought together by key on disk, where memory must not grow with their number.

Each goes to one of a fixed number of files by the first byte of its key; read back, one file's keys are sorted at a
time, and one record is held. The files have no name, so the system frees them when the process ends, however it ends:
nobody's code stays behind.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from struct import Struct
from tempfile import TemporaryFile
from types import TracebackType
from typing import IO, Self

from trainer.errors import BadGroups

FILES = 64
"""Divides 256. Of a million records each holds some sixteen thousand, whose keys take 2 MB while they are sorted."""
BUFFER_BYTES = 2**16
"""Of each file: some thirty records a write."""
KEY_BYTES = 16
_HEAD = Struct(f"<{KEY_BYTES}sI")
"""Key and length, before every record."""


class Entry:
    """All the records of one key, read from disk as often as they are asked for."""

    def __init__(self, file: IO[bytes], places: list[tuple[int, int]]) -> None:
        """`places`: where each record begins, and its length."""
        self._file, self._places = file.fileno(), places

    def __len__(self) -> int:
        return len(self._places)

    def __iter__(self) -> Iterator[bytes]:
        return (os.pread(self._file, length, place) for place, length in self._places)


class Spool:
    """A context: first `add` everything, then iterate once. Raises `BadGroups` where the disk does not take it."""

    def __init__(self, folder: Path) -> None:
        """`folder`: on a disk with room for all the records."""
        self._folder = folder
        self._files: list[IO[bytes]] = []
        self._closing = ExitStack()
        self.records = 0

    def __enter__(self) -> Self:
        try:
            for _ in range(FILES):
                self._files.append(self._closing.enter_context(TemporaryFile(buffering=BUFFER_BYTES, dir=self._folder)))
        except OSError as error:
            raise BadGroups(f"no temporary files in {self._folder}: {error}") from error
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._closing.close()

    def add(self, key: bytes, record: bytes) -> None:
        """Keep a record under a key of `KEY_BYTES`."""
        try:
            self._files[key[0] * FILES // 256].write(_HEAD.pack(key, len(record)) + record)
        except OSError as error:
            raise BadGroups(f"temporary files in {self._folder}: {error}") from error
        self.records += 1

    def __iter__(self) -> Iterator[Entry]:
        """The records of each key, in the order of the keys and, within one, of their coming."""
        for file in self._files:
            try:
                file.seek(0, os.SEEK_SET)
            except OSError as error:  # what was still held in memory finds no room
                raise BadGroups(f"temporary files in {self._folder}: {error}") from error
            for _, places in groupby(sorted(_index(file)), key=itemgetter(0)):
                yield Entry(file, [(place, length) for _, place, length in places])


def _index(file: IO[bytes]) -> Iterator[tuple[bytes, int, int]]:
    """Key, place and length of every record."""
    place = 0
    while head := file.read(_HEAD.size):
        key, length = _HEAD.unpack(head)
        yield key, place + _HEAD.size, length
        place = file.seek(length, os.SEEK_CUR)
