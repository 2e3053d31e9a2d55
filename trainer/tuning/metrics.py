"""`metrics.jsonl`: a line a step and a line a measurement, none of them twice after a restart."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from trainer.errors import BadCheckpoints


class Metrics:
    """Appends lines; opened at a step, it forgets what came after it and what was written by halves."""

    def __init__(self, path: Path, step: int) -> None:
        """Open the file as it was after `step` steps. Raises `BadCheckpoints` where it cannot be written."""
        try:
            self._open(path, step)
        except OSError as error:
            raise BadCheckpoints(f"checkpoints: {path.parent} cannot be written: {error.strerror}") from error

    def _open(self, path: Path, step: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        kept = [line for line in read_metrics(path) if step and int(line.get("step", 0)) <= step]
        partial = path.with_name(f".{path.name}.partial")
        partial.write_text("".join(json.dumps(line) + "\n" for line in kept), encoding="utf-8")
        partial.replace(path)
        self._file = path.open("a", encoding="utf-8")

    def write(self, kind: str, **values: Any) -> None:
        """Add a line, complete before this returns."""
        self._file.write(json.dumps({"kind": kind, **values}) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Keep what was written."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()


class MetricsReader:
    """Reads a file that is being written, each line once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: int | None = None
        self._read_bytes = 0

    def new(self) -> tuple[list[dict[str, Any]], bool]:
        """The whole lines since the last time, and whether they are a file's first: it was opened anew (`Metrics`)."""
        try:
            with self._path.open("rb") as file:
                found = os.fstat(file.fileno()).st_ino
                first = found != self._file
                file.seek(0 if first else self._read_bytes)
                text = file.read()
        except FileNotFoundError:
            return [], False
        whole = text[: text.rfind(b"\n") + 1]
        self._file, self._read_bytes = found, (0 if first else self._read_bytes) + len(whole)
        return [json.loads(line) for line in whole.splitlines()], first


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The whole lines of a file; none where there is no file. A last line without its end is left out."""
    if not path.is_file():
        return []
    text = path.read_text(encoding="utf-8")
    return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]
