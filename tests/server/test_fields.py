"""The table of fields in docs/api.md is today's, and true: each field is sent to each route that knows it."""

import re
from dataclasses import replace
from typing import Any

import pytest

from engine import ScriptedEngine, UnsupportedField
from server import fields_page
from server.errors import ApiError
from server.fields_page import ENGINE, ROUTES, YES, effects
from server.keys.caller import Caller
from server.translate.ask import Ask
from server.translate.candidates import candidates_ask
from server.translate.chat import chat_ask
from server.translate.completions import completion_ask
from server.translate.defaults import Defaults
from server.translate.fim import fim_ask, infill_ask
from server.wire.base import RerankFields

UNDERSTAND: dict[str, Any] = {
    "completions": completion_ask,
    "chat": chat_ask,
    "fim": fim_ask,
    "infill": infill_ask,
    "candidates": candidates_ask,
}
SAY = [{"role": "user", "content": "hello"}]
BASE: dict[str, dict[str, Any]] = {
    "completions": {"prompt": "def f():\n"},
    "chat": {"messages": SAY},
    "fim": {"prompt": "def f():\n", "suffix": ""},
    "infill": {"input_prefix": "def f():\n"},
    "candidates": {"prompt": "def f():\n", "candidates": ["a"]},
}
SNIPPET = {"filepath": "a.py", "body": "x = 1"}
TESTS = {"code": "assert f()"}
SAMPLES: dict[str, Any] = {
    "model": "tiny:1m",
    "rerank": {"method": "likelihood"},
    "rerank.profile": "cold",
    "rerank.method": "likelihood_sum",
    "rerank.num_candidates": 5,
    "rerank.max_candidates": 5,
    "rerank.generate_tests": 3,
    "rerank.plans": 2,
    "rerank.repair_rounds": 2,
    "rerank.temperature": 0.5,
    "rerank.top_p": 0.5,
    "rerank.include_greedy": False,
    "rerank.dedupe": "off",
    "rerank.tests": TESTS,
    "rerank.tests.language": "cobol",
    "rerank.tests.entry_point": "f",
    "rerank.tests.code": "assert g()",
    "rerank.tests.timeout_ms": 50.0,
    "rerank.tests.memory_mb": 99,
    "rerank.tests.visible": False,
    "rerank.examples": "off",
    "rerank.deadline_ms": 50.0,
    "rerank.early_exit": "first_pass",
    "rerank.on_error": "fail",
    "rerank.return": "all",
    "rerank.verifier": "default",
    "n": 2,
    "temperature": 0.5,
    "top_p": 0.5,
    "top_k": 5,
    "max_tokens": 5,
    "min_tokens": 5,
    "stop": ["x"],
    "seed": 5,
    "stream": True,
    "stream_options": {"include_usage": True},
    "stream_options.include_usage": True,
    "stream_options.include_obfuscation": True,
    "presence_penalty": 0.5,
    "frequency_penalty": 0.5,
    "repetition_penalty": 1.5,
    "logit_bias": {"5": 1.0},
    "user": "me",
    "prompt": "other",
    "suffix": "after",
    "fim": "raw",
    "best_of": 2,
    "logprobs": 2,
    "echo": True,
    "n_predict": 5,
    "max_new_tokens": 5,
    "options": {"num_predict": 5},
    "options.num_predict": 5,
    "options.temperature": 0.5,
    "options.top_p": 0.5,
    "options.stop": ["x"],
    "segments": {"prefix": "x"},
    "segments.prefix": "other",
    "segments.suffix": "after",
    "segments.filepath": "b.py",
    "segments.git_url": "git@x",
    "segments.declarations": [SNIPPET],
    "segments.declarations[].filepath": "b.py",
    "segments.declarations[].body": "y",
    "segments.clipboard": "x",
    "language": "python",
    "mode": "standard",
    "messages": [{"role": "user", "content": "other"}],
    "messages[].role": "system",
    "messages[].content": "other",
    "messages[].content[].type": "image",
    "messages[].content[].text": "other",
    "max_completion_tokens": 5,
    "top_logprobs": 2,
    "tools": [{}],
    "tool_choice": "required",
    "functions": [{}],
    "function_call": {"name": "f"},
    "response_format": {"type": "json_object"},
    "modalities": ["audio"],
    "audio": {},
    "prediction": {},
    "random_seed": 5,
    "metadata": {"a": "b"},
    "input_prefix": "other",
    "input_suffix": "after",
    "input_extra": [{"text": "x"}],
    "input_extra[].text": "y",
    "input_extra[].filename": "c.py",
    "n_cmpl": 2,
    "t_max_predict_ms": 50.0,
    "t_max_prompt_ms": 50.0,
    "samplers": ["top_k"],
    "cache_prompt": True,
    "id_slot": 1,
    "n_indent": 1,
    "min_p": 0.1,
    "typical_p": 0.1,
    "n_keep": 1,
    "n_probs": 1,
    "candidates": ["a", "b"],
}
for each in ("changed", "recently_opened"):
    path = f"segments.relevant_snippets_from_{each}_files"
    SAMPLES |= {path: [SNIPPET], f"{path}[].filepath": "b.py", f"{path}[].body": "y"}
BESIDE: dict[str, dict[str, Any]] = {
    "rerank.max_candidates": {"rerank": {"num_candidates": "auto"}},
    "rerank.early_exit": {"rerank": {"num_candidates": 4, "early_exit": "off"}},
    "rerank.tests.": {"rerank": {"tests": TESTS}},
    "stream_options": {"stream": True},
    "temperature": {"rerank": {"method": "off"}},
    "top_p": {"rerank": {"method": "off"}},
    "options": {"rerank": {"method": "off"}},
    "fim": {"prompt": "<fim_prefix>a<fim_suffix>b<fim_middle>"},
    "segments": {"prompt": None, "segments": {"prefix": "x"}},
    "segments.filepath": {"prompt": None, "segments": {"prefix": "x", "declarations": [SNIPPET]}},
    "segments.declarations[]": {"prompt": None, "segments": {"prefix": "x", "declarations": [SNIPPET]}},
    "segments.relevant_snippets_from_changed_files[]": {
        "prompt": None,
        "segments": {"prefix": "x", "relevant_snippets_from_changed_files": [SNIPPET]},
    },
    "segments.relevant_snippets_from_recently_opened_files[]": {
        "prompt": None,
        "segments": {"prefix": "x", "relevant_snippets_from_recently_opened_files": [SNIPPET]},
    },
    "messages": {"prompt": None, "messages": SAY},
    "messages[].content[]": {
        "prompt": None,
        "messages": [{"role": "user", "content": [{"type": "text", "text": "a"}]}],
    },
    "samplers": {"temperature": 0.5, "rerank": {"method": "off"}},
    "input_extra[]": {"input_extra": [{"text": "x"}]},
    "top_logprobs": {"logprobs": True},
}
"""What must be there for a field to mean anything, by the beginning of its path; the longest counts."""
ELSEWHERE = {
    "response_fields": "chooses fields of the reply: tests/server/test_fim.py",
    "rerank.tests.suite_id": "is looked up before a request is understood: tests/server/test_suites.py",
}
INFO = replace(ScriptedEngine({}).info, model="tiny:1m.r1")
CALLER = Caller()


def understood(route: str, body: dict[str, Any]) -> Ask | Exception:
    """What a route makes of a body, or why it does not."""
    defaults = Defaults(
        info=INFO,
        methods=("likelihood", "likelihood_sum", "tests"),
        can_run=True,
        profiles={"cold": RerankFields(deadline_ms=7.0)},
    )
    try:
        wire = ROUTES[route].model_validate({name: value for name, value in body.items() if value is not None})
        ask: Ask = UNDERSTAND[route](wire, {}, defaults, id="x")
    except (ApiError, UnsupportedField, ValueError) as error:
        return error
    return replace(ask, client=replace(ask.client, caller=CALLER))


def merged(base: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    both = dict(base)
    for name, value in more.items():
        inner = both.get(name)
        both[name] = merged(inner, value) if isinstance(value, dict) and isinstance(inner, dict) else value
    return both


def put(body: Any, path: str, value: Any) -> Any:
    """The body with one field changed; of lists, in their first object."""
    first, _, rest = path.partition(".")
    name = first.removesuffix("[]")
    if not rest:
        return {**body, name: value}
    inner = body.get(name) or ([{}] if first.endswith("[]") else {})
    changed = [put(inner[0], rest, value)] if isinstance(inner, list) else put(inner, rest, value)
    return {**body, name: changed}


def context(route: str, path: str) -> dict[str, Any]:
    beginnings = sorted((start for start in BESIDE if path.startswith(start)), key=len)
    if (
        not beginnings
        or path == "segments"
        or (route == "candidates" and path.startswith(("rerank.max", "rerank.early")))
    ):
        return BASE[route]
    return merged(BASE[route], BESIDE[beginnings[-1]])


def names(error: Exception, path: str) -> bool:
    """Whether an error names the field."""
    if isinstance(error, UnsupportedField):
        return error.field == path
    name, param = path.rpartition(".")[2], getattr(error, "param", None)
    return name in (param or str(error)) or path.startswith(re.sub(r"\[\d+\]", "[]", str(param)))


CASES = [(path, route, effect) for path, by_route in effects().items() for route, effect in by_route.items()]


def test_every_field_is_tried() -> None:
    assert {path for path, _, _ in CASES} == SAMPLES.keys() | ELSEWHERE.keys()


@pytest.mark.parametrize(("path", "route", "effect"), [case for case in CASES if case[0] not in ELSEWHERE])
def test_the_table_is_true(path: str, route: str, effect: str) -> None:
    base = context(route, path)
    sample = True if (path, route) == ("logprobs", "chat") else SAMPLES[path]
    body = put(base, path, sample)
    if path == "segments":
        body["prompt"] = None
    if path == "candidates":
        body["rerank"] = {"method": "likelihood"}
    before, after = understood(route, base), understood(route, body)
    assert isinstance(before, Ask) or path.startswith("segments") or "max_candidates" in path, before
    if effect == "no effect":
        assert isinstance(before, Ask)
        assert isinstance(after, Ask)
        assert replace(after, ignored=()) == before
        assert after.ignored == (path,)
    elif effect == "refused" or (isinstance(after, Exception) and effect in (YES, ENGINE)):
        assert isinstance(after, Exception)
        assert names(after, path), after
    else:
        assert after != before


def test_the_page_is_current() -> None:
    text = fields_page.PAGE.read_text()
    assert text == fields_page.page(text), "run: make docs"


def test_what_nobody_knows_is_named_wherever_it_stands() -> None:
    body = {
        "messages": [{"role": "user", "content": [{"type": "text", "text": "a", "bold": 1}], "name": "x"}] * 2,
        "stream_options": {"speed": 1},
        "mood": 1,
    }
    ask = understood("chat", body)
    assert isinstance(ask, Ask)
    assert set(ask.ignored) == {"mood", "stream_options.speed", "messages[].name", "messages[].content[].bold"}
