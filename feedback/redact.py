"""Secrets out of what is kept and trained on: tokens of known shape, private keys, passwords in assignments and URLs.

The shapes are those that the services publish and that secret scanners (detect-secrets, gitleaks) look for. They find
what looks like a secret and nothing else: a password in a sentence stays. Why no library: docs/decisions/0051.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable
from typing import Any

PLACEHOLDER = "REDACTED"
"""Stands for a secret. A word, so that code which held the secret in a string still parses."""
MIN_ENTROPY_BITS = 3.0
"""A character, of the value of an assignment: "password123" has 3.3, "xxxxxxxx1" 0.5."""

# Bounded, as texts are untrusted: an open end tried at every mark of a long text would take the square of its length.
_TOKENS = (
    (("AKIA", "ASIA"), r"\b((?:AKIA|ASIA)[0-9A-Z]{16})\b"),
    (("ghp_", "gho_", "ghu_", "ghs_", "ghr_"), r"\b(gh[pousr]_[0-9A-Za-z]{36,255})\b"),
    (("github_pat_",), r"\b(github_pat_\w{22,255})\b"),
    (("glpat-",), r"\b(glpat-[\w-]{20,})"),
    (("xox",), r"\b(xox[abeoprs]-[0-9A-Za-z-]{10,})"),
    (("hooks.slack.com",), r"hooks\.slack\.com/(?:services|workflows)/([\w/]{20,})"),
    (("AIza",), r"\b(AIza[\w-]{35})"),
    (("sk-",), r"\b(sk-(?:proj-|ant-|svcacct-)?[\w-]{0,200}[0-9A-Za-z]{20,256})"),
    (("_live_", "_test_"), r"\b((?:sk|rk|pk)_(?:live|test)_[0-9A-Za-z]{16,})"),
    (("hf_",), r"\b(hf_[0-9A-Za-z]{30,})\b"),
    (("npm_",), r"\b(npm_[0-9A-Za-z]{36})\b"),
    (("pypi-",), r"\b(pypi-[\w-]{50,})"),
    (("eyJ",), r"\b(eyJ[\w-]{8,2048}\.eyJ[\w-]{8,2048}\.[\w-]{8,2048})"),
    (
        ("PRIVATE KEY",),
        r"(-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----.*?"
        r"(?:-----END (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----|\Z))",
    ),
    (("://",), r"://[^\s/:@'\"]{1,64}:([^\s/@'\"]{3,128})@"),
)
_SHAPES = tuple((marks, re.compile(shape, re.DOTALL)) for marks, shape in _TOKENS)

_BEARER = re.compile(r"\b[Bb]earer\s+([\w.~+/-]{16,}=*)")
_KEYS = tuple(f"{of}{dash}key" for of in ("api", "access", "auth", "private", "account") for dash in ("", "_", "-"))
_NAMES = ("passw", "pwd", "secret", "token", "credential")
_MARKS = ("earer", *(mark for marks, _ in _TOKENS for mark in marks))
_NAME = r"(?:passwo?r?d|passwd|pwd|secret|token|(?:api|access|auth|private|account)[_-]?key|credentials?)"
_QUOTED = re.compile(
    _NAME + r"[\w-]{0,40}[\"']?\]?\s{0,4}(?::\s?\w+\s?=|:=|=>|=|:)\s{0,4}[\"']([^\s\"']{8,256})[\"']", re.I
)
_BARE = re.compile(_NAME + r"\w{0,40}=([^\s\"'(){}\[\],;]{12,256})(?=\s|\Z)", re.I)


def may_hold(text: str) -> bool:
    """Whether there is anything to look at more closely; most texts are told clean by this alone."""
    for mark in _MARKS:
        if mark in text:
            return True
    lower = text.lower()
    for name in _NAMES:
        if name in lower:
            return True
    return "key" in lower and any(key in lower for key in _KEYS)


def redact(text: str) -> str:
    """The text with every secret found replaced; the same text where there is none. Doing it twice changes nothing."""
    if not may_hold(text):
        return text
    for marks, shape in _SHAPES:
        if any(mark in text for mark in marks):
            text = shape.sub(_replaced, text)
    text = _BEARER.sub(_if(_has_digit), text)
    text = _QUOTED.sub(_if(_is_dense), text)
    return _BARE.sub(_if(_is_dense), text)


def redact_all(data: Any) -> Any:
    """Plain JSON data with every text in it redacted; keys and what is no text stay."""
    if isinstance(data, str):
        return redact(data)
    if isinstance(data, list):
        return [redact_all(item) for item in data]
    if isinstance(data, dict):
        return {key: redact_all(value) for key, value in data.items()}
    return data


def _replaced(match: re.Match[str]) -> str:
    whole, start = match[0], match.start(1) - match.start()
    return whole[:start] + PLACEHOLDER + whole[start + len(match[1]) :]


def _if(holds: Callable[[str], bool]) -> Callable[[re.Match[str]], str]:
    return lambda match: _replaced(match) if holds(match[1]) else match[0]


def _has_digit(value: str) -> bool:
    return any(char.isdigit() for char in value)


def _is_dense(value: str) -> bool:
    """Whether a value looks made up at random: letters and digits, few of them twice."""
    if not _has_digit(value) or not any(char.isalpha() for char in value):
        return False
    shares = [count / len(value) for count in Counter(value).values()]
    return -sum(share * math.log2(share) for share in shares) >= MIN_ENTROPY_BITS
