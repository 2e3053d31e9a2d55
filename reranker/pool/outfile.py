"""The rankings on disk, a line a problem and method, and beside them a file that says what they were made of."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from reranker.evaluation.beside import check_same_run
from reranker.evaluation.errors import DifferentRun, UnreadableFile
from reranker.evaluation.files import translated
from reranker.pool.ranking import Ranked

KIND = "touchstone ranking"
_FIELDS = {"task_id": str, "method": str, "ranking": list, "scores": list}


class OutFile:
    """Lines as they are made, those of a problem on disk before the next one's. Made by `open`; one writer at a time.

    A process killed in the middle of a line leaves a part of one: it is cut off, and the line is written again.
    """

    def __init__(self, path: Path, file: IO[bytes], lines: dict[tuple[str, str], dict[str, Any]]) -> None:
        self.path, self._file, self._lines = path, file, lines

    @classmethod
    def open(cls, path: Path, identity: Mapping[str, Any]) -> OutFile:
        """Begin a file, or go on with the one that is there.

        `identity` is what all its lines must share. Raises `DifferentRun`, naming what differs, and `UnreadableFile`,
        also where another process writes it.
        """
        with translated(path):
            file = path.open("a+b")
        try:
            with translated(path):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                file.seek(0)
                data = file.read()
            whole = data.rfind(b"\n") + 1
            check_same_run(path, identity, kind=KIND, begun=bool(data))
            lines = dict(_parsed(line, f"{path}:{n}") for n, line in enumerate(data[:whole].splitlines(), 1))
            file.truncate(whole)
        except BaseException:
            file.close()
            raise
        return cls(path, file, lines)

    @property
    def known(self) -> frozenset[str]:
        """Problems with a line in it."""
        return frozenset(task_id for task_id, _ in self._lines)

    def append(self, made: Iterable[Ranked]) -> None:
        """Write the lines that are not there yet and wait until the disk has them.

        Raises `DifferentRun` for a line that is there and says something else.
        """
        new = []
        for ranked in made:
            line, there = as_line(ranked), self._lines.get((ranked.task_id, ranked.method))
            if there is not None and there != line:
                raise DifferentRun(
                    f"{self.path} ranks {ranked.task_id} by {ranked.method!r} otherwise than this run does: another "
                    "version wrote it, or outcomes that depend on time came out otherwise; move it away"
                )
            if there is None:
                new.append(line)
        self._file.write(b"".join(json.dumps(line, allow_nan=False).encode() + b"\n" for line in new))
        self._file.flush()
        os.fsync(self._file.fileno())

    def __enter__(self) -> OutFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._file.close()


def as_line(ranked: Ranked) -> dict[str, Any]:
    """What is written of a ranking; `by` only where it is not the method itself."""
    line = {
        "task_id": ranked.task_id,
        "method": ranked.method,
        "ranking": list(ranked.ranking),
        "scores": list(ranked.scores),
    }
    return line if ranked.by == (ranked.method,) else line | {"by": list(ranked.by)}


def _parsed(line: bytes, where: str) -> tuple[tuple[str, str], dict[str, Any]]:
    try:
        data = json.loads(line)
    except ValueError as error:
        raise UnreadableFile(where, f"is not JSON: {error}") from error
    if not isinstance(data, dict):
        raise UnreadableFile(where, "is not a JSON object")
    for name, kind in _FIELDS.items():
        if not isinstance(data.get(name), kind):
            raise UnreadableFile(where, f"{name}: is missing, or not a {'text' if kind is str else 'list'}")
    return (data["task_id"], data["method"]), data
