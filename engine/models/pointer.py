"""Small files beside the model folders: the champion pointer, the refused rounds, the lock that guards both."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from engine.errors import InvalidModel
from engine.models.manifest import write_json
from engine.models.names import check_id


@dataclass(frozen=True, slots=True)
class Refusal:
    """A round that the gate refused, and why."""

    id: str
    round: int
    reason: str
    refused_at: datetime
    evaluation: Mapping[str, Any] | None


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock between processes; it dies with its holder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def read_pointer(path: Path) -> str | None:
    """Id of the champion, or None where none was ever set. Raises `InvalidModel` on a faulty file."""
    if not path.exists():
        return None
    return str(_read(path, "id"))


def write_pointer(path: Path, new: str, previous: str | None) -> None:
    """Name the champion, and the one before it for a roll-back."""
    write_json(path, {"id": new, "previous": previous, "since": datetime.now(UTC).isoformat(timespec="seconds")})


def read_previous(path: Path) -> str | None:
    """Id of the champion before this one."""
    previous = _read(path, "previous") if path.exists() else None
    return None if previous is None else str(previous)


def write_refusal(folder: Path, refusal: Refusal) -> None:
    """Remember a refused round."""
    check_id(refusal.id)
    folder.mkdir(parents=True, exist_ok=True)
    value = {
        "id": refusal.id,
        "round": refusal.round,
        "reason": refusal.reason,
        "refused_at": refusal.refused_at.isoformat(timespec="seconds"),
        "evaluation": refusal.evaluation,
    }
    write_json(folder / f"{refusal.id}.json", value)


def read_refusals(folder: Path) -> tuple[Refusal, ...]:
    """Every refused round, oldest first."""
    found = []
    for path in folder.glob("*.json"):
        refused_at = datetime.fromisoformat(str(_read(path, "refused_at")))
        refusal = Refusal(
            str(_read(path, "id")),
            int(_read(path, "round")),
            _read(path, "reason"),
            refused_at,
            _read(path, "evaluation"),
        )
        found.append(refusal)
    return tuple(sorted(found, key=lambda refusal: (refusal.refused_at, refusal.round)))


def _read(path: Path, field: str) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))[field]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InvalidModel(f"{path}: {field}: missing or not readable") from error
