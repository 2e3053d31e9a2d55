"""Small files beside the model folders: champion, challenger, refused rounds, and the lock that guards them."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, get_args

from engine.errors import InvalidModel
from engine.models.manifest import write_json
from engine.models.names import check_id

ContestMode = Literal["shadow", "canary"]


@dataclass(frozen=True, slots=True)
class Challenger:
    """A model in a contest with the champion."""

    id: str
    mode: ContestMode
    """shadow: it answers too, and nobody sees it; canary: a share of the traffic is answered by it."""
    share: float
    """Of the requests, above 0 and at most 1."""
    since: datetime
    champion: str
    """Id of the champion it is compared with; the contest ends with that one."""


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


def write_challenger(path: Path, challenger: Challenger) -> None:
    """Begin a contest."""
    value = {name: getattr(challenger, name) for name in Challenger.__dataclass_fields__}
    write_json(path, value | {"since": challenger.since.isoformat()})


def read_challenger(path: Path) -> Challenger | None:
    """The model in a contest, or None. Raises `InvalidModel` on a faulty file."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise InvalidModel(f"{path}: not readable: {error}") from error
    try:
        found = Challenger(
            str(data["id"]),
            data["mode"],
            float(data["share"]),
            datetime.fromisoformat(data["since"]),
            str(data["champion"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidModel(f"{path}: {error!r}") from error
    check_challenge(found.mode, found.share, where=f"{path}: ")
    return found


def check_challenge(mode: str, share: float, *, where: str = "") -> None:
    """Raises `InvalidModel` naming the field that cannot be."""
    if mode not in get_args(ContestMode):
        raise InvalidModel(f"{where}mode: {mode!r} is neither shadow nor canary")
    if not 0 < share <= 1:
        raise InvalidModel(f"{where}share: {share} is not above 0 and at most 1")


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
