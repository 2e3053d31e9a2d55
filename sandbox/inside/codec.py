"""Plain data as JSON text with type tags, and the frames that carry it.

Covers exactly None, bool, int, float, complex, str, bytes, list, tuple, dict, set and frozenset, and the dictionaries
Counter, OrderedDict and defaultdict, by exact type: any other subclass can lie about its own equality. A defaultdict
keeps its factory where that is a builtin type; any other stays behind, and `LOST` on the other side remembers whether
it was asked for. Decoding is strict, bounded in depth, refuses keys chosen to collide in a hash table, and never runs
anything of the sender's.
"""

from __future__ import annotations

import json
import os
import signal
from collections import Counter, OrderedDict, defaultdict
from typing import Any

MAX_DEPTH = 60
MAX_FRAME_BYTES = 64 * 1024 * 1024
"""The largest frame the trusted side ever sends; what comes back is capped far lower."""

_MANY_KEYS = 500
_MAX_ALIKE = 200
"""Of many keys, how many may have one hash."""
_PLAIN_INT_BITS = 64  # longer integers travel in hexadecimal, whose conversion is linear and has no digit limit

DICTIONARIES = (Counter, OrderedDict, defaultdict)
_DICTIONARIES = {kind.__name__: kind for kind in DICTIONARIES}
_FACTORIES = {
    kind.__name__: kind for kind in (bool, int, float, complex, str, bytes, list, tuple, dict, set, frozenset)
}


class Unsupported(Exception):
    """The value has no plain form."""


class BadFrame(Exception):
    """The bytes are not a value or a message of this protocol."""


class _Lost:
    """Stands for a default factory that could not cross. What it would have given is unknown: asking is remembered."""

    asked = False

    def __call__(self) -> Any:
        self.asked = True
        raise Unsupported(str(self))

    def __reduce__(self) -> str:  # a copy is the same
        return "LOST"

    def __repr__(self) -> str:
        return "a default factory that cannot cross"


LOST = _Lost()
_LOST_NAME = "?"


def encode(value: Any, depth: int = 0) -> Any:
    """Turn a value into what JSON can hold. Raises `Unsupported`."""
    if depth > MAX_DEPTH:
        raise Unsupported(f"nested deeper than {MAX_DEPTH}")
    kind = type(value)
    if value is None or kind is bool or kind is str:
        return value
    if kind is int:
        return value if value.bit_length() <= _PLAIN_INT_BITS else {"i": hex(value)}
    if kind is float:
        return {"f": value.hex()}
    if kind is list:
        return [encode(item, depth + 1) for item in value]
    if kind is tuple:
        return {"t": [encode(item, depth + 1) for item in value]}
    if kind is dict:
        return {"d": _encode_items(value, depth)}
    if kind in DICTIONARIES:
        return {"k": [kind.__name__, _factory_name(value), _encode_items(value, depth)]}
    if kind is set or kind is frozenset:
        return {"s" if kind is set else "z": [encode(item, depth + 1) for item in value]}
    if kind is bytes:
        return {"b": value.hex()}
    if kind is complex:
        return {"c": [value.real.hex(), value.imag.hex()]}
    raise Unsupported(f"a value of type {kind.__name__[:80]}")


def _encode_items(value: dict[Any, Any], depth: int) -> list[list[Any]]:
    return [[encode(key, depth + 1), encode(item, depth + 1)] for key, item in value.items()]


def _factory_name(value: dict[Any, Any]) -> str | None:
    factory = value.default_factory if type(value) is defaultdict else None
    if factory is None:
        return None
    return next((name for name, kind in _FACTORIES.items() if kind is factory), _LOST_NAME)


def decode(data: Any, depth: int = 0) -> Any:
    """Turn parsed JSON back into the value. Raises `BadFrame` for anything `encode` does not write."""
    if depth > MAX_DEPTH + 1:
        raise BadFrame("nested too deeply")
    kind = type(data)
    if data is None or kind is bool or kind is int or kind is str:
        return data
    if kind is list:
        return [decode(item, depth + 1) for item in data]
    if kind is not dict or len(data) != 1:
        raise BadFrame("not a tagged value")
    ((tag, body),) = data.items()
    try:
        return _decode_tagged(tag, body, depth + 1)
    except (ValueError, TypeError, OverflowError) as error:
        raise BadFrame(f"bad body of tag {tag[:8]!r}") from error


def _decode_tagged(tag: str, body: Any, depth: int) -> Any:
    if tag in ("i", "f", "b"):
        if type(body) is not str:
            raise TypeError("text expected")
        if tag == "i":
            return int(body, 16)
        return float.fromhex(body) if tag == "f" else bytes.fromhex(body)
    if type(body) is not list:
        raise TypeError("list expected")
    if tag == "c":
        real, imaginary = body
        return complex(float.fromhex(real), float.fromhex(imaginary))
    if tag == "d":
        return _decode_items(body, depth)
    if tag == "k":
        name, factory, pairs = body
        return _decode_dictionary(name, factory, _decode_items(pairs, depth))
    items = [decode(item, depth) for item in body]
    if tag == "t":
        return tuple(items)
    _check_spread(items)
    if tag == "s":
        return set(items)
    if tag == "z":
        return frozenset(items)
    raise BadFrame(f"unknown tag {tag[:8]!r}")


def _decode_items(pairs: list[Any], depth: int) -> dict[Any, Any]:
    keys = [decode(key, depth) for key, _ in pairs]
    _check_spread(keys)
    return {key: decode(item, depth) for key, (_, item) in zip(keys, pairs, strict=True)}


def _decode_dictionary(name: Any, factory: Any, items: dict[Any, Any]) -> dict[Any, Any]:
    kind = _DICTIONARIES.get(name)
    if kind is defaultdict and (factory is None or factory == _LOST_NAME or factory in _FACTORIES):
        return defaultdict(None if factory is None else _FACTORIES.get(factory, LOST), items)
    if kind in (Counter, OrderedDict) and factory is None:
        return kind(items)
    raise BadFrame("unknown dictionary")


def _check_spread(keys: list[Any]) -> None:
    """Refuse keys that would make a hash table of them quadratic to build."""
    if len(keys) > _MANY_KEYS:
        hashes = list(map(hash, keys))
        # Honest keys hardly ever share one, so that the count is for others.
        if len(set(hashes)) < len(keys) - _MAX_ALIKE and max(Counter(hashes).values()) > _MAX_ALIKE:
            raise BadFrame("keys that collide")


def _refuse(text: str) -> Any:
    raise ValueError(f"bare float {text[:20]}")


# Made once: the module's own functions make one for every message that is not in their style.
_ENCODER = json.JSONEncoder(ensure_ascii=True, allow_nan=False, separators=(",", ":"))
_DECODER = json.JSONDecoder(parse_float=_refuse, parse_constant=_refuse)


def dumps(message: Any) -> bytes:
    """Write a message of plain JSON as text; every character outside ASCII is escaped."""
    return _ENCODER.encode(message).encode("ascii")


def loads(raw: bytes) -> dict[str, Any]:
    """Read a message: a JSON object without bare floats. Raises `BadFrame`."""
    try:
        message = _DECODER.decode(raw.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise BadFrame("not JSON of this protocol") from error
    if type(message) is not dict:
        raise BadFrame("not an object")
    return message


def frame(message: Any) -> bytes:
    """A message with its length in front: four bytes, big end first."""
    body = dumps(message)
    return len(body).to_bytes(4, "big") + body


def write_frame(fd: int, message: Any) -> None:
    """Send one message on a blocking descriptor. Raises `OSError`."""
    write_all(fd, frame(message))


def finish(fd: int) -> None:
    """Say that nothing more will be said, by a frame without a body, close, and wait to be killed; raises `OSError`.

    Whoever reads is woken by that, and by nothing before. What this process has used can be seen as long as it lives.
    """
    write_all(fd, bytes(4))
    os.close(fd)
    signal.pause()


def write_all(fd: int, data: bytes) -> None:
    """Write everything to a blocking descriptor. Raises `OSError`."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def read_job(fd: int) -> dict[str, Any]:
    """Read the whole file that holds a process's job, and close it. Raises `OSError`."""
    data, size = b"", os.fstat(fd).st_size
    while len(data) < size and (part := os.pread(fd, size - len(data), len(data))):
        data += part
    os.close(fd)
    job: dict[str, Any] = json.loads(data)
    return job


def read_frame(fd: int, cap_bytes: int = MAX_FRAME_BYTES) -> dict[str, Any] | None:
    """Receive one message from a blocking descriptor; None at its end. Raises `BadFrame` and `OSError`."""
    head = _read_exactly(fd, 4)
    if head is None:
        return None
    size = int.from_bytes(head, "big")
    if size > cap_bytes:
        raise BadFrame(f"a frame of {size} bytes, {cap_bytes} allowed")
    body = _read_exactly(fd, size)
    return None if body is None else loads(body)


def _read_exactly(fd: int, size: int) -> bytes | None:
    parts = []
    while size:
        part = os.read(fd, min(size, 1 << 20))
        if not part:
            return None
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def short_repr(value: Any, cap: int = 200) -> str:
    """`repr` of plain data, cut to `cap` characters."""
    try:
        text = repr(value)
    except ValueError:  # an integer beyond the interpreter's digit limit
        text = hex(value) if type(value) is int else f"<{type(value).__name__} holding a huge integer>"
    except RecursionError:
        text = f"<deep {type(value).__name__}>"
    return text if len(text) <= cap else text[: cap - 1] + "…"


def describe(error: BaseException) -> dict[str, Any]:
    """The name, the nearest builtin ancestor and the message of an exception, as plain data."""
    base = next((kind.__name__ for kind in type(error).__mro__ if kind.__module__ == "builtins"), "Exception")
    try:
        text = str(error)[:200]
    except BaseException:  # noqa: BLE001  an untrusted __str__ may raise anything
        text = ""
    return {"raised": type(error).__name__[:80], "base": base, "message": text}
