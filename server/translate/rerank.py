"""What reranking a request asks for: body > headers > model-name suffix > `best_of` > the key's default > the
server's, each by itself or by a profile.

Refuses by name what is not built yet, what cannot go together, and evidence this host cannot gather.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from reranker import LEARNED, needs_of
from sandbox import AssertSuite, Limits
from server.errors import BadRequest
from server.translate.defaults import Defaults, Headers
from server.translate.names import Named
from server.translate.profiles import with_profile
from server.wire.base import RERANK_WORDS, RerankFields, TestsFields

_NOTHING = RerankFields()
_ADAPTIVE = 16
"""The most candidates that `num_candidates: "auto"` samples when `max_candidates` is not said."""
_TESTS = 20
"""Tests written where a method lives on them and their number is not said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """How to choose, resolved."""

    method: str
    n: int
    num_candidates: int
    adaptive: bool = False
    generate_tests: int = 0
    deadline_s: float | None
    fields: RerankFields
    as_openai: bool = False
    """A bare `best_of`: the request's own temperature counts, as in OpenAI's API."""
    suite: AssertSuite | None = None
    limits: Limits
    profile: str = ""

    @property
    def return_all(self) -> bool:
        return self.fields.return_ == "all"


def resolve_rerank(
    fields: RerankFields | None,
    headers: Headers,
    named: Named,
    defaults: Defaults,
    *,
    n: int,
    best_of: int | None = None,
    fim: bool = False,
    stream: bool = False,
) -> Wanted:
    """Put the sources together. Raises `BadRequest`, naming the field."""
    profiled = with_profile(fields, headers, named, defaults, best_of=best_of, plain=not (fim or stream))
    asked = profiled.fields or _NOTHING
    if not profiled.by_default:
        fields = profiled.fields
    _check_words(asked)
    method, method_name = _method(asked, headers, named)
    if method == "off":
        headers, named = _above(asked, headers, named)
    number, number_name = _number(asked, headers, named, best_of)
    method_name = profiled.source if "method" in profiled.taken else method_name
    number_name = profiled.source if "num_candidates" in profiled.taken else number_name
    bare = best_of is not None and method is None and fields is None and "x-rerank-n" not in headers
    if bare:
        method = "likelihood" if number != n else "off"
    if method is None:
        asks = fields is not None or number is not None
        method = "auto" if asks else defaults.method_for(fim=fim, stream=stream)
    _check_method(method, method_name, defaults)
    if asked.verifier is not None and "verifier" not in defaults.methods:
        raise BadRequest("rerank.verifier", _none_loaded("verifier"), code="no_verifier")
    _check_off(method, asked, number, number_name, n)
    if method == "off":
        number = n
    number = max(n, defaults.num_candidates) if number is None else number
    _check_number(number, number_name, n, defaults)
    suite, limits = _suite(asked.tests, defaults)
    return Wanted(
        method=method,
        n=number if asked.return_ == "all" else n,
        num_candidates=number,
        adaptive=asked.num_candidates == "auto",
        generate_tests=_tests_to_write(asked, method),
        deadline_s=_deadline(asked, headers),
        fields=asked,
        as_openai=bare,
        suite=suite,
        limits=limits,
        profile=profiled.name,
    )


def _check_words(fields: RerankFields) -> None:
    for name, words in RERANK_WORDS.items():
        value = getattr(fields, name)
        if value is not None and value not in words:
            raise BadRequest(f"rerank.{name.rstrip('_')}", f"must be one of {', '.join(words)}", code="invalid_value")
    if fields.max_candidates is not None and fields.num_candidates != "auto":
        raise BadRequest("rerank.max_candidates", "goes with num_candidates 'auto' only", code="conflict")


def _above(asked: RerankFields, headers: Headers, named: Named) -> tuple[Headers, Named]:
    """The sources that still count once one has said `off`: those weaker than it are overruled, numbers and all."""
    if asked.method is not None:
        return {name: value for name, value in headers.items() if name != "x-rerank-n"}, Named()
    return headers, Named() if "x-rerank" in headers else named


def _method(asked: RerankFields, headers: Headers, named: Named) -> tuple[str | None, str]:
    """The method that was asked for, and the field that says so."""
    if asked.method is None and headers.get("x-rerank"):
        return headers["x-rerank"], "X-Rerank"
    if asked.method is None and named.method is not None:
        return named.method, "model"
    return asked.method or None, "rerank.method"


def _number(asked: RerankFields, headers: Headers, named: Named, best_of: int | None) -> tuple[int | None, str]:
    """How many candidates, and the field that says so."""
    if asked.num_candidates == "auto":
        if best_of is not None:
            raise BadRequest("best_of", "says a number where rerank.num_candidates is 'auto'", code="conflict")
        return asked.max_candidates or _ADAPTIVE, "rerank.max_candidates"
    if asked.num_candidates is not None:
        if best_of not in (None, 1, asked.num_candidates):
            raise BadRequest("best_of", "says another number than rerank.num_candidates", code="conflict")
        return asked.num_candidates, "rerank.num_candidates"
    if best_of is not None:
        return best_of, "best_of"
    if "x-rerank-n" in headers:
        return _positive(headers["x-rerank-n"], "X-Rerank-N"), "X-Rerank-N"
    return named.num_candidates, "model"


def _positive(text: str, name: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text[:9]) < 1:
        raise BadRequest(name, "must be a whole number of at least 1", code="invalid_value")
    return int(text[:9])


def _check_method(method: str, name: str, defaults: Defaults) -> None:
    known = ("off", "auto", *defaults.methods)
    if method not in known and method in LEARNED:
        raise BadRequest(name, f"{method!r}: {_none_loaded(method)}", code=f"no_{method}")
    if method not in known:
        raise BadRequest(name, f"unknown method {method!r}; known: {', '.join(known)}", code="unknown_method")
    if needs_of(method) and not defaults.can_run:
        raise BadRequest(
            name,
            f"{method!r} runs untrusted code, which this host cannot isolate; GET /ready says why",
            code="sandbox_unavailable",
        )


def _none_loaded(method: str) -> str:
    setting = "reranker.discriminator" if method == "discriminator" else "reranker.verifier"
    return f"none is loaded; the setting {setting} loads one"


def _check_off(method: str, asked: RerankFields, number: int | None, number_name: str, n: int) -> None:
    """With reranking off, nothing that only reranking could honour may have been asked for."""
    if method != "off":
        return
    if asked.tests is not None:
        raise BadRequest("rerank.tests", "nothing is tested with reranking off", code="conflict")
    for name in ("generate_tests", "plans", "repair_rounds", "verifier"):
        if getattr(asked, name):
            raise BadRequest(f"rerank.{name}", "nothing is compared with reranking off", code="conflict")
    if asked.num_candidates == "auto":
        raise BadRequest("rerank.num_candidates", "there is nothing to stop by with reranking off", code="conflict")
    if number is not None and number > n:
        raise BadRequest(number_name, "more candidates than n need reranking, which is off", code="conflict")


def _check_number(number: int, name: str, n: int, defaults: Defaults) -> None:
    if number > defaults.max_candidates:
        name = "n" if number == n else name
        raise BadRequest(name, f"at most {defaults.max_candidates} candidates", code="too_many_candidates")
    if n > number:
        raise BadRequest("n", f"more choices than candidates ({number}, from {name})", code="too_many_choices")


def _tests_to_write(asked: RerankFields, method: str) -> int:
    if asked.generate_tests is None:
        return _TESTS if "tests" in needs_of(method) else 0
    return asked.generate_tests


def _deadline(asked: RerankFields, headers: Headers) -> float | None:
    if asked.deadline_ms is not None:
        return asked.deadline_ms / 1000
    text = headers.get("x-rerank-deadline-ms")
    return None if text is None else _positive(text, "X-Rerank-Deadline-Ms") / 1000


def _suite(tests: TestsFields | None, defaults: Defaults) -> tuple[AssertSuite | None, Limits]:
    if tests is None:
        return None, defaults.limits
    if tests.language != "python":
        raise BadRequest(
            "rerank.tests.language", "a request's tests are Python (other languages: touchstone run)", code="not_built"
        )
    if not tests.code or not tests.code.strip():
        raise BadRequest("rerank.tests.code", "there are no tests in it", code="invalid_suite")
    limits = defaults.limits
    if tests.timeout_ms is not None:
        wall_s = _capped("rerank.tests.timeout_ms", tests.timeout_ms / 1000, defaults.max_wall_s, 1000)
        limits = replace(limits, wall_s=wall_s, cpu_s=wall_s, test_wall_s=min(limits.test_wall_s, wall_s))
    if tests.memory_mb is not None:
        memory = _capped("rerank.tests.memory_mb", tests.memory_mb * 2**20, defaults.max_memory_bytes, 2**-20)
        limits = replace(limits, memory_bytes=int(memory))
    return AssertSuite(tests.code, visible=tests.visible), limits


def _capped(name: str, value: float, cap: float, unit: float) -> float:
    if value > cap:
        raise BadRequest(name, f"at most {cap * unit:.0f}", code="too_large")
    return value
