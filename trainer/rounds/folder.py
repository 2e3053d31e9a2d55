"""A round on disk: what it is, and which of its steps are done.

<state_dir>/rounds/<id>/round.json    what the round is made of; written first
<state_dir>/rounds/<id>/.<step>/      a step under way; a step may go on from what it finds there
<state_dir>/rounds/<id>/<step>/       a step that is done: renamed into place, so that half of one is never taken for it
<state_dir>/rounds/<id>/result.json   how it ended; a round without one is gone on with
<state_dir>/rounds/.lock              held by the process that works on a round
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from engine import write_json
from trainer.errors import RoundRunning, TrainerError

SCHEMA_VERSION = 1
Ending = Literal["published", "refused", "abandoned"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """`round.json`."""

    id: str
    """Of the model that it makes."""
    round: int
    family: str
    size: str
    parent: str
    """Id of the champion that it starts from."""
    created_at: datetime
    config: dict[str, Any]
    """`[trainer]`, resolved."""
    config_hash: str
    touchstone: str
    schema_version: int = SCHEMA_VERSION


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """`result.json`: how a round ended."""

    ending: Ending
    reason: str
    finished_at: datetime


@dataclass(frozen=True, slots=True)
class RoundFolder:
    """One round's folder."""

    path: Path

    def is_done(self, step: str) -> bool:
        """Whether a step's folder is in place."""
        return (self.path / step).is_dir()

    def of(self, step: str) -> Path:
        """Folder of a step that is done."""
        return self.path / step

    def begin(self, step: str) -> Path:
        """The folder that a step works in: new, or as it was left."""
        folder = self.path / f".{step}"
        folder.mkdir(exist_ok=True)
        return folder

    def finish(self, step: str) -> None:
        """Put a step's folder in place, on disk."""
        (self.path / f".{step}").rename(self.path / step)
        _sync(self.path)

    @property
    def facts(self) -> Facts:
        """What it is made of. Raises `TrainerError` where `round.json` cannot be read."""
        path = self.path / "round.json"
        data = read_json(path)
        if not isinstance(data, dict) or data.get("schema_version") != SCHEMA_VERSION:
            raise TrainerError(f"{path}: written by another version of Touchstone")
        with _faults_named(path):
            return Facts(**{**data, "created_at": datetime.fromisoformat(data["created_at"])})

    @property
    def result(self) -> Result | None:
        """How it ended; None while it has not. Raises `TrainerError` where `result.json` cannot be read."""
        path = self.path / "result.json"
        if not path.exists():
            return None
        data = read_json(path)
        with _faults_named(path):
            return Result(**{**data, "finished_at": datetime.fromisoformat(data["finished_at"])})

    def end(self, result: Result) -> None:
        """Write how it ended, then remove what only a running round needs: steps under way, and weights, which the
        store has where they were published, and which nightly refusals would fill a disk with.
        """
        write_json(self.path / "result.json", _with_times(asdict(result)))
        for pattern in (".*/", "train/weights", "merge/hf", "convert/*"):
            for folder in self.path.glob(pattern):
                shutil.rmtree(folder, ignore_errors=True)


@dataclass(frozen=True, slots=True)
class Rounds:
    """All rounds of a state folder."""

    root: Path

    def all(self) -> tuple[RoundFolder, ...]:
        """Every round, oldest first."""
        found = [RoundFolder(path.parent) for path in self.root.glob("*/round.json")]
        return tuple(sorted(found, key=lambda each: (each.facts.created_at, each.path.name)))

    def unfinished(self) -> RoundFolder | None:
        """The round to go on with."""
        return next((each for each in self.all() if each.result is None), None)

    def ended(self) -> tuple[RoundFolder, ...]:
        """Those that were published or refused, oldest first."""
        results = [(each, each.result) for each in self.all()]
        return tuple(each for each, result in results if result is not None and result.ending != "abandoned")

    def last(self) -> RoundFolder | None:
        """The newest of those that have ended."""
        return next(reversed(self.ended()), None)

    def next_round(self, family: str, size: str) -> int:
        """The lowest number behind those of this family and size; abandoned rounds have not used theirs up."""
        own = [each.facts for each in self.all() if each.result is None or each.result.ending != "abandoned"]
        return 1 + max((facts.round for facts in own if (facts.family, facts.size) == (family, size)), default=0)

    def create(self, facts: Facts) -> RoundFolder:
        """Begin a round under a number that is free; an abandoned one of the same id is replaced."""
        path = self.root / facts.id
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(parents=True)
        write_json(path / "round.json", _with_times(asdict(facts)))
        return RoundFolder(path)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other rounds off this state folder; the lock dies with its holder. Raises `RoundRunning`."""
        self.root.mkdir(parents=True, exist_ok=True, mode=0o700)  # prompts lie here
        with (self.root / ".lock").open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                if error.errno not in (errno.EAGAIN, errno.EACCES):
                    raise
                raise RoundRunning(f"another round works in {self.root}; only one may at a time") from error
            yield


def read_json(path: Path) -> Any:
    """A JSON file. Raises `TrainerError` naming it."""
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise TrainerError(f"{path}: {error}") from error


@contextmanager
def _faults_named(path: Path) -> Iterator[None]:
    try:
        yield
    except (KeyError, TypeError, ValueError) as error:
        raise TrainerError(f"{path}: {error!r}") from error


def _with_times(data: dict[str, Any]) -> dict[str, Any]:
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in data.items()}


def _sync(folder: Path) -> None:
    """Put a folder's names on disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
