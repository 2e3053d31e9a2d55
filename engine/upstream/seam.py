"""The one place where an upstream's refusals and httpx's exceptions become errors of ours."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import httpx

from engine.errors import ContextTooLong, EngineError, EngineFailed, Overloaded, UnsupportedField

_TOO_LONG = re.compile(r"context[ _](length|size|window)|maximum context|too many tokens", re.IGNORECASE)
_OUR_NAMES = {"top_logprobs": "logprobs", "max_completion_tokens": "max_tokens"}
_SHOWN_CHARACTERS = 300


@contextmanager
def translated() -> Iterator[None]:
    """Turn what httpx raises into `EngineFailed`. The API key is in no message: httpx names URLs, never headers."""
    try:
        yield
    except httpx.TimeoutException as error:
        raise EngineFailed(f"the upstream did not answer in time ({type(error).__name__})") from error
    except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
        raise EngineFailed(f"the upstream cannot be reached or broke off: {error or type(error).__name__}") from error


def refusal(status: int, headers: Mapping[str, str], body: bytes) -> EngineError:
    """The error that an HTTP status of 400 or more stands for."""
    error = _error_object(body)
    message = str(error.get("message") or body[:_SHOWN_CHARACTERS].decode("utf-8", "replace"))[:_SHOWN_CHARACTERS]
    if status == httpx.codes.TOO_MANY_REQUESTS:
        return Overloaded(_retry_after_s(headers.get("retry-after")))
    if status in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
        return EngineFailed(f"the upstream refused the API key (HTTP {status}): {message}")
    if status < httpx.codes.INTERNAL_SERVER_ERROR:
        if error.get("code") == "context_length_exceeded" or _TOO_LONG.search(f"{message} {error.get('type')}"):
            return ContextTooLong(f"the upstream says: {message}")
        if isinstance(param := error.get("param"), str) and param:
            return UnsupportedField(_OUR_NAMES.get(param, param), f"the upstream says: {message}")
    return EngineFailed(f"the upstream answered HTTP {status}: {message}")


def in_stream(error: object) -> EngineFailed:
    """What an upstream says went wrong after it began to answer."""
    message = error.get("message") if isinstance(error, dict) else error
    return EngineFailed(f"the upstream broke while answering: {str(message)[:_SHOWN_CHARACTERS]}")


def _error_object(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body)
    except ValueError:
        return {}
    if isinstance(value, dict):
        inner = value.get("error", value)
        return inner if isinstance(inner, dict) else {"message": inner}
    return {}


def _retry_after_s(value: str | None) -> float:
    try:
        return max(0.0, float(value or 1.0))
    except ValueError:  # an HTTP date
        return 1.0
