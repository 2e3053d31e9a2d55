"""The file of keys: JSON, for its owner only, replaced as a whole. Whoever changes it holds the lock beside it."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from server.keys.types import Key


class KeysUnreadable(Exception):
    """The file of keys cannot be read or written; the message names it. Nobody is let in because of that."""


class UnknownKey(Exception):
    """There is no key of this id."""


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    version: Literal[1] = 1
    keys: list[Key] = []


def read_keys(path: Path) -> list[Key]:
    """Every key, revoked and expired ones too; none where there is no file. Raises `KeysUnreadable`."""
    try:
        return _File.model_validate_json(path.read_bytes()).keys
    except FileNotFoundError:
        return []
    except OSError as error:
        raise KeysUnreadable(f"{path}: {error.strerror or error}") from error
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise KeysUnreadable(f"{path}: {where + ': ' if where else ''}{first['msg']}") from error


def add_key(path: Path, key: Key) -> None:
    """Add a key; on disk when this returns. Raises `KeysUnreadable`."""
    with _locked(path):
        _write(path, [*read_keys(path), key])


def revoke_key(path: Path, key_id: str) -> Key:
    """Accept a key no more. It stays in the file, so that the log's ids go on to have a name.

    Raises `UnknownKey`, `KeysUnreadable`. A second time changes nothing.
    """
    with _locked(path):
        keys = read_keys(path)
        for position, key in enumerate(keys):
            if key.id == key_id:
                if key.revoked_at is None:
                    keys[position] = key = key.model_copy(update={"revoked_at": datetime.now(UTC)})
                    _write(path, keys)
                return key
    raise UnknownKey(key_id)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise KeysUnreadable(f"{path}: {error.strerror or error}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _write(path: Path, keys: list[Key]) -> None:
    new = path.with_suffix(".new")
    try:
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(_File(keys=keys).model_dump_json(indent=1) + "\n")
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    except OSError as error:
        raise KeysUnreadable(f"{path}: {error.strerror or error}") from error
