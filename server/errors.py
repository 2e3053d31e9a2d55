"""Every error of the house as OpenAI's error JSON, by one table looked up along the exception's MRO.

ApiError              raised by the server itself; carries its status and body
├── BadRequest        400: names the field
├── NotFound          404: route, model or exchange
├── BodyTooLarge      413
├── RequestTimeout    408: the request did not come in time
├── Stopped           499: cancelled by request, or superseded in its session
└── Unavailable       503: loading, switching or draining; carries a retry hint
UnusableModel         (an EngineError) a model that cannot be served: damaged, or not computing what it should; 422
ClientGone            nobody is left to answer; never rendered

Bad input never becomes a 5xx. An exception that is not in the table is a defect of ours: 500, with its traceback in
the log and none of its words in the reply.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from typing import Any

from pydantic import ValidationError
from starlette.exceptions import HTTPException

from engine import (
    ChampionMoved,
    ContextTooLong,
    EngineError,
    EngineFailed,
    InvalidModel,
    ModelNotFound,
    Overloaded,
    UnsupportedField,
)
from feedback import (
    FeedbackError,
    ForeignExchange,
    InvalidSignal,
    StoreFailed,
    TooManySuites,
    UnknownChoice,
    UnknownExchange,
)
from reranker import InvalidRequest, JudgeFailed, NoCandidates
from sandbox import InvalidSuite, SandboxError, SandboxUnavailable

_log = logging.getLogger(__name__)


class ApiError(Exception):
    """An error with its HTTP form."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        retry_after_s: float | None = None,
        headers: tuple[tuple[str, str], ...] = (),
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.param = param
        self.code = code
        retry = () if retry_after_s is None else (("Retry-After", str(max(1, math.ceil(retry_after_s)))),)
        self.headers = headers + retry

    @property
    def body(self) -> dict[str, Any]:
        """The reply's JSON."""
        return {"error": {"message": self.message, "type": _type(self.status), "param": self.param, "code": self.code}}


class BadRequest(ApiError):
    """The request cannot be honoured as it is; `param` names the field."""

    def __init__(self, param: str | None, message: str, code: str | None = None) -> None:
        super().__init__(400, message if param is None else f"{param}: {message}", param=param, code=code)


class NotFound(ApiError):
    """There is no such thing."""

    def __init__(self, message: str, *, param: str | None = None, code: str = "not_found") -> None:
        super().__init__(404, message, param=param, code=code)


def drained() -> Unavailable:
    """What a request is told that the end of the process cut off."""
    return Unavailable("this server ended before the request did", "draining", 1)


class BodyTooLarge(ApiError):
    """The body is larger than this server reads."""

    def __init__(self, limit_bytes: int) -> None:
        super().__init__(413, f"the request body is larger than {limit_bytes} bytes", code="body_too_large")


class RequestTimeout(ApiError):
    """The client did not send its request in time; `part` is its head or its body."""

    def __init__(self, part: str, timeout_s: float) -> None:
        super().__init__(408, f"the request's {part} did not come within {timeout_s:g} s", code="request_timeout")


class Stopped(ApiError):
    """The request was stopped on somebody's word. 499: official clients send 409 and 5xx again by themselves."""

    def __init__(self, message: str, code: str) -> None:
        super().__init__(499, message, code=code)


class Unavailable(ApiError):
    """The server is loading its model, exchanging it, or draining before it ends."""

    def __init__(self, message: str, code: str, retry_after_s: float) -> None:
        super().__init__(503, message, code=code, retry_after_s=retry_after_s)


class UnusableModel(EngineError):
    """A model that is there and cannot be served."""

    def __init__(self, model_id: str, reason: str) -> None:
        super().__init__(model_id, reason)
        self.model_id = model_id
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.model_id} cannot be served: {self.reason}"


class ClientGone(Exception):
    """The client closed the connection; its work was stopped."""


def to_api_error(error: BaseException) -> ApiError:
    """The HTTP form of any exception; the first class of its MRO that the table knows decides."""
    if isinstance(error, ApiError):
        return error
    for cls in type(error).__mro__:
        if cls in _TABLE:
            return _TABLE[cls](error)
    _log.error("unexpected %s", type(error).__name__, exc_info=error)
    return ApiError(500, "the server failed; its log has the details", code="internal_error")


def _type(status: int) -> str:
    if status == 429:
        return "rate_limit_error"
    if status >= 500:
        return "server_error"
    return "not_found_error" if status == 404 else "invalid_request_error"


def _validation(error: Any) -> ApiError:
    first, *others = error.errors(include_url=False, include_context=False, include_input=False)
    if first["type"] == "json_invalid":
        return BadRequest(None, f"the body is not valid JSON: {first['msg']}", code="invalid_json")
    if first["type"] == "model_type" and not first["loc"]:
        return BadRequest(None, "the body must be a JSON object", code="invalid_type")
    if first["type"] == "extra_forbidden":
        return BadRequest(_param(first["loc"]), "unknown key", code="extra_forbidden")
    alike = [first, *(other for other in others if other["loc"][:1] == first["loc"][:1])]
    told = max(alike, key=_understood)
    param = _param(told["loc"])
    said = dict.fromkeys(str(each["msg"]) for each in alike if _param(each["loc"]) == param)
    message = ", or ".join(said).replace(", or Input should be", ", or").removeprefix("Value error, ")
    return BadRequest(param, message, code=str(told["type"]))


def _understood(error: Any) -> tuple[int, int]:
    """How far into a value a member of a union came before it failed: levels, and places in the last list."""
    loc = error["loc"]
    return len(loc), loc[-1] if loc and isinstance(loc[-1], int) else -1


def _param(loc: tuple[int | str, ...]) -> str | None:
    """The path of a field as a client writes it, without pydantic's names for the members of a union."""
    path = ""
    for part in loc:
        if isinstance(part, int):
            path += f"[{part}]"
        elif part in ("str", "int", "float", "bool") or not part.isidentifier() or part[0].isupper():
            continue
        else:
            path += f".{part}" if path else part
    return path or None


def _http(error: Any) -> ApiError:
    code = {404: "unknown_url", 405: "method_not_allowed"}.get(error.status_code)
    headers = tuple((error.headers or {}).items())
    message = {404: "there is no such route", 405: "this route does not take that method"}
    return ApiError(error.status_code, message.get(error.status_code, error.detail), code=code, headers=headers)


def _field(error: Any) -> ApiError:
    return BadRequest(error.field, error.reason, code="unsupported_value")


def _store_failed(message: str) -> ApiError:
    """Whoever runs the server must learn of it, not its clients alone; the message holds nothing of a request."""
    _log.error("%s", message)
    return ApiError(503, message, code="store_failed", retry_after_s=1)


_TABLE: dict[type, Callable[[Any], ApiError]] = {
    ValidationError: _validation,
    HTTPException: _http,
    UnsupportedField: _field,
    InvalidRequest: _field,
    ContextTooLong: lambda e: ApiError(400, str(e), param=e.field, code="context_length_exceeded"),
    Overloaded: lambda e: ApiError(429, str(e), code="overloaded", retry_after_s=e.retry_after_s),
    EngineFailed: lambda e: ApiError(500, f"the engine failed: {e}", code="engine_failed"),
    ModelNotFound: lambda e: NotFound(str(e), param="id", code="model_not_found"),
    ChampionMoved: lambda e: ApiError(409, str(e), param="expected", code="champion_moved"),
    InvalidModel: lambda e: ApiError(422, str(e), param="id", code="model_unusable"),
    UnusableModel: lambda e: ApiError(422, str(e), param="id", code="model_unusable"),
    EngineError: lambda e: ApiError(500, f"the engine failed: {e}", code="engine_failed"),
    InvalidSuite: lambda e: BadRequest("rerank.tests.code", str(e), code="invalid_suite"),
    SandboxUnavailable: lambda e: BadRequest("rerank.method", str(e), code="sandbox_unavailable"),
    SandboxError: lambda e: ApiError(503, f"the sandbox failed: {e}", code="judge_failed", retry_after_s=1),
    JudgeFailed: lambda e: ApiError(503, f"the judge failed: {e}", code="judge_failed", retry_after_s=1),
    NoCandidates: lambda e: ApiError(504, str(e), code="no_candidates"),
    UnknownExchange: lambda e: NotFound(f"there is no exchange {e}", param="id", code="unknown_id"),
    UnknownChoice: lambda e: BadRequest("choice", str(e), code="unknown_choice"),
    ForeignExchange: lambda e: ApiError(409, str(e), param="id", code="foreign_id"),
    TooManySuites: lambda e: ApiError(409, str(e), code="too_many_suites"),
    InvalidSignal: lambda e: BadRequest("value", str(e), code="invalid_value"),
    StoreFailed: lambda e: _store_failed(f"the log cannot be written: {e}"),
    FeedbackError: lambda e: _store_failed(f"the log failed: {e}"),
}
