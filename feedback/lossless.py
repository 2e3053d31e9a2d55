"""Text and JSON that any database and any JSON reader keep as they are.

PostgreSQL refuses U+0000, UTF-8 has no lone surrogates, JSON joins two surrogates that stood apart and has no
infinities. Models and users produce all of these. So one noncharacter, U+FDD0 (Unicode keeps it for internal use),
stands before what cannot be written: `U+FDD0` + four hexadecimal digits is that code unit, and a JSON string
`U+FDD0` + `nan`, `inf` or `-inf` is that number. U+FDD0 itself is written the same way. Ordinary text is unchanged.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

from pydantic_core import from_json

MARK = "\ufdd0"
_UNSAFE = re.compile("[\x00\ud800-\udfff\ufdd0]")
_WRITTEN = re.compile(MARK + "([0-9a-f]{4})")
_UNSAFE_JSON = re.compile(r"\\u(?:0000|fdd0|d[89a-f])|NaN|Infinity")
"""What `json.dumps` makes of unsafe text and numbers; matches too much (emoji), never too little."""
_encode = json.JSONEncoder(separators=(",", ":")).encode


def escape(text: str) -> str:
    """The text with everything a database may refuse written out."""
    return _UNSAFE.sub(lambda match: f"{MARK}{ord(match[0]):04x}", text) if _UNSAFE.search(text) else text


def unescape(text: str) -> str:
    """What `escape` was given."""
    return _WRITTEN.sub(lambda match: chr(int(match[1], 16)), text) if MARK in text else text


def dumps(data: Any) -> str:
    """Plain data as standard JSON. Raises `TypeError` for anything else, `ValueError` where it holds itself."""
    text = _encode(data)
    # What the pattern matches has one of these in it, and to look for them takes a tenth of its time.
    if (r"\u" in text or "NaN" in text or "Infinity" in text) and _UNSAFE_JSON.search(text):
        text = json.dumps(_escape_all(data), separators=(",", ":"), allow_nan=False)
    return text


def loads(text: str) -> Any:
    """What `dumps` was given (tuples as lists). Raises `ValueError` for text that is not JSON."""
    data = from_json(text)
    return _unescape_all(data) if MARK in text or r"\ufdd0" in text else data


def _escape_all(data: Any) -> Any:
    if isinstance(data, str):
        return escape(data)
    if isinstance(data, float) and not math.isfinite(data):
        return MARK + repr(data)
    if isinstance(data, list | tuple):
        return [_escape_all(item) for item in data]
    if isinstance(data, dict):
        return {_escape_all(key): _escape_all(value) for key, value in data.items()}
    return data


def _unescape_all(data: Any) -> Any:
    if isinstance(data, str):
        return float(data[1:]) if data in _NUMBERS else unescape(data)
    if isinstance(data, list):
        return [_unescape_all(item) for item in data]
    if isinstance(data, dict):
        return {unescape(key): _unescape_all(value) for key, value in data.items()}
    return data


_NUMBERS = frozenset(MARK + name for name in ("nan", "inf", "-inf"))
