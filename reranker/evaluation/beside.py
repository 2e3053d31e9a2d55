"""Files of lines that a command goes on with, and the file beside each that says what all its lines share."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from engine import touchstone_version
from reranker.evaluation.errors import DifferentRun, UnreadableFile
from reranker.evaluation.files import translated, write_json

SCHEMA_VERSION = 1


def run_file(path: Path) -> Path:
    """The file beside `path` that says what it was made of."""
    return path.with_name(path.name + ".run.json")


def check_same_run(path: Path, identity: Mapping[str, Any], *, kind: str, begun: bool) -> None:
    """Write down what a file is made of, or compare it with what is there once the file is `begun`.

    Raises `DifferentRun`, naming what differs, and `UnreadableFile`.
    """
    beside = run_file(path)
    if not begun:
        made = {"created_at": datetime.now(UTC).isoformat(timespec="seconds"), "touchstone": touchstone_version()}
        with translated(beside):
            write_json(beside, {"kind": kind, "schema_version": SCHEMA_VERSION, **made, **identity})
        return
    with translated(beside):
        text = beside.read_text("utf-8") if beside.exists() else ""
    if not text:
        raise UnreadableFile(str(path), f"cannot be gone on with: {beside.name} is missing, which says how it was made")
    try:
        found = json.loads(text)
    except ValueError as error:
        raise UnreadableFile(str(beside), f"is not JSON: {error}") from error
    if not isinstance(found, dict) or (found.get("kind"), found.get("schema_version")) != (kind, SCHEMA_VERSION):
        raise UnreadableFile(str(beside), f"does not say {kind!r}, version {SCHEMA_VERSION}")
    differences = [
        f"{name}: {found.get(name)!r} there, {value!r} here"
        for name, value in identity.items()
        if found.get(name) != value
    ]
    if differences:
        raise DifferentRun(f"{path} belongs to another run: {'; '.join(differences)}")


def whole_lines(path: Path) -> list[bytes]:
    """The lines of a file; none where there is no file.

    Half a line at the end, which a process killed in the middle of it leaves, is cut off, unless nothing beside the
    file says that it is ours. Raises `UnreadableFile`.
    """
    with translated(path):
        data = path.read_bytes() if path.exists() else b""
        whole = data[: data.rfind(b"\n") + 1]
        if whole != data and run_file(path).exists():
            with path.open("r+b") as file:
                file.truncate(len(whole))
    return whole.splitlines()


def begun(path: Path) -> bool:
    """Whether there is anything in the file."""
    return path.exists() and path.stat().st_size > 0
