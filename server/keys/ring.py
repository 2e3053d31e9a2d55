"""The keys of a running server. The file is looked at anew with every request, so what is revoked counts at once."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from server.errors import ApiError
from server.keys.caller import Caller
from server.keys.file import KeysUnreadable, read_keys
from server.keys.limits import KeyLimits, Meter, Use
from server.keys.types import Key, digest_of

_log = logging.getLogger(__name__)
_BEARER = b"bearer "
_Stamp = tuple[int, int, int]


class Ring:
    """Finds the key of a request. Once there were keys, a file that is gone or damaged lets nobody in who was not."""

    def __init__(self, path: Path, limits: KeyLimits) -> None:
        """`limits` are the server's own. Raises `KeysUnreadable`."""
        self._path = path
        self._limits = limits
        self._meters: dict[str | None, Meter] = {}
        self._callers: dict[str | None, Caller] = {}
        """By the id of a key; until the file changes."""
        self._stamp = self._stat()
        self._by_digest: dict[str, Key] = {}
        self._in_use = False
        self._take(read_keys(path))

    @property
    def in_use(self) -> bool:
        """Whether a key is asked for; False: whoever reaches this server may do everything."""
        self._look()
        return self._in_use

    def caller(self, headers: Iterable[tuple[bytes, bytes]]) -> Caller:
        """Who sent these headers, by the keys as `in_use` found them last.

        Raises `ApiError` (401) where keys are in use and this is none of them.
        """
        if not self._in_use:
            return self._caller(None)
        secret = _secret_of(headers)
        if secret is None:
            raise _refused("this server needs a key: Authorization: Bearer <key>", "missing_api_key")
        key = self._by_digest.get(digest_of(secret))
        if key is None:
            raise _refused("this key is not known", "invalid_api_key")
        if (reason := key.why_not(datetime.now(UTC))) is not None:
            raise _refused(f"the key {key.id} {reason}", "invalid_api_key")
        return self._caller(key)

    def untold(self) -> dict[str, Use]:
        """What other servers should be told of each key's use; nobody's key is the empty string."""
        now_s = time.monotonic()
        found = {key_id or "": meter.untold(now_s) for key_id, meter in self._meters.items()}
        return {key_id: use for key_id, use in found.items() if use is not None}

    def others(self, server: str, key_id: str, use: Use) -> None:
        """Another server admitted so much of a key's; a key that is not known here is not used here."""
        key = next((key for key in self._by_digest.values() if key.id == key_id), None)
        if key is not None or not key_id:
            self._caller(key).meter.others(server, use, time.monotonic())

    def _caller(self, key: Key | None) -> Caller:
        key_id = None if key is None else key.id
        found = self._callers.get(key_id)
        if found is not None:
            return found
        limits = self._limits if key is None else key.limits.over(self._limits)
        now_s = time.monotonic()
        meter = self._meters.get(key_id)
        if meter is None:
            meter = self._meters[key_id] = Meter(limits, now_s)
        meter.change(limits, now_s)
        self._callers[key_id] = Caller(key, meter)
        return self._callers[key_id]

    def _look(self) -> None:
        stamp = self._stat()
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            self._take(read_keys(self._path))
        except KeysUnreadable as error:
            _log.error("the keys of before stay in force: %s", error)

    def _take(self, keys: list[Key]) -> None:
        # Never back to open: a file that was deleted by mistake must not open a server to everybody.
        self._in_use = self._in_use or bool(keys)
        self._callers.clear()
        self._by_digest = {key.digest: key for key in keys}

    def _stat(self) -> _Stamp | None:
        try:
            found = os.stat(self._path)
        except FileNotFoundError:
            return None
        except OSError:
            return (0, 0, 0)  # `read_keys` says what is wrong with it
        return (found.st_mtime_ns, found.st_ino, found.st_size)


def _secret_of(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    found: str | None = None
    for name, value in headers:
        if name == b"authorization" and value[: len(_BEARER)].lower() == _BEARER:
            return value[len(_BEARER) :].strip().decode("latin-1")
        if name == b"x-api-key":
            found = value.strip().decode("latin-1")
    return found


def _refused(message: str, code: str) -> ApiError:
    return ApiError(401, message, code=code, headers=(("WWW-Authenticate", "Bearer"),))
