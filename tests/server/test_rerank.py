"""Reranking over HTTP: who asks for it, what is refused, what comes back."""

from typing import Any

import pytest

from engine import Scripted, ScriptedEngine
from sandbox import LaunchFailed, ScriptedSandbox

from .conftest import Serve, Setup
from .test_errors import error_of

MODEL = "scripted:1m-none.r2"
TESTS: dict[str, Any] = {"language": "python", "entry_point": "one", "code": "assert one() == 1"}


async def test_the_candidate_that_passes_is_returned_with_its_evidence(server: Setup) -> None:
    reply = await server.complete("def one():\n", rerank={"tests": TESTS, "num_candidates": 4})
    body = reply.json()
    [choice] = body["choices"]
    assert choice["text"] == "    return 1"
    evidence = choice["rerank"]
    assert evidence["class"] == "pass"
    assert evidence["score"] == 1.0
    counts = {"passed": 1, "failed": 0, "errored": 0, "not_run": 0}
    assert evidence["tests"] == {**counts, "form": "calls", "tier": "scripted", "integrity": "strong"}
    assert evidence["verifier"] is None
    assert evidence["mean_logprob"] == -0.5
    assert set(evidence["ms"]) == {"generate", "execute"}
    assert body["rerank"]["method"] == "tests"
    assert body["rerank"]["status"] in ("complete", "early_exit")
    assert body["rerank"]["num_passing"] == 1
    assert reply.headers["x-rerank-score"] == "1"
    details = body["usage"]["completion_tokens_details"]
    assert details["returned_tokens"] + details["discarded_tokens"] == body["usage"]["completion_tokens"]
    assert details["discarded_tokens"] > 0


async def test_plain_completions_are_reranked_by_default_with_eight_candidates(server: Setup) -> None:
    block = (await server.complete()).json()["rerank"]
    assert (block["status"], block["method"], block["num_candidates"]) == ("complete", "likelihood", 8)


async def test_return_all_gives_every_candidate_best_first(server: Setup) -> None:
    rerank = {"method": "likelihood", "num_candidates": 4, "return": "all", "include_greedy": False}
    body = (await server.complete(rerank=rerank)).json()
    assert [c["text"] for c in body["choices"]] == ["third", "first", "second", "first"]
    assert body["usage"]["completion_tokens_details"]["returned_tokens"] == 21


@pytest.mark.parametrize(
    ("model", "headers", "rerank", "expected"),
    [
        (MODEL, {}, None, ("likelihood", 8)),
        (f"{MODEL}+likelihood4", {}, None, ("likelihood", 4)),
        (f"{MODEL}+likelihood", {}, None, ("likelihood", 8)),
        (f"{MODEL}+auto3", {}, None, ("likelihood", 3)),
        (f"{MODEL}+majority5", {}, None, ("majority", 5)),
        (MODEL, {}, {"num_candidates": "auto", "max_candidates": 5}, ("likelihood", 5)),
        (f"{MODEL}+off", {}, None, ("off", 1)),
        (f"{MODEL}+off", {"X-Rerank": "likelihood"}, None, ("likelihood", 8)),
        (f"{MODEL}+likelihood4", {"X-Rerank-N": "2"}, None, ("likelihood", 2)),
        (MODEL, {"X-Rerank": "off"}, None, ("off", 1)),
        (MODEL, {"X-Rerank": "off"}, {"method": "likelihood", "num_candidates": 3}, ("likelihood", 3)),
        (f"{MODEL}+likelihood4", {"X-Rerank-N": "5"}, {"num_candidates": 6}, ("likelihood", 6)),
        (MODEL, {"X-Rerank": "likelihood", "X-Rerank-N": "5"}, {"method": "off"}, ("off", 1)),
        (f"{MODEL}+likelihood4", {"X-Rerank": "off"}, None, ("off", 1)),
        (MODEL, {"X-Rerank": "off", "X-Rerank-N": "5"}, None, ("conflict", 0)),
        (MODEL, {"X-Rerank": "off"}, {"num_candidates": 5}, ("conflict", 0)),
        (f"{MODEL}+off", {}, {"num_candidates": 5}, ("conflict", 0)),
    ],
)
async def test_body_beats_header_beats_suffix_beats_default(
    server: Setup, model: str, headers: dict[str, str], rerank: dict[str, Any] | None, expected: tuple[str, int]
) -> None:
    reply = await server.complete(model=model, headers=headers, rerank=rerank)
    if expected[0] == "conflict":
        assert error_of(reply)["code"] == "conflict"
        return
    block = reply.json()["rerank"]
    assert (block["method"], block["num_candidates"]) == expected


async def test_a_bare_best_of_means_likelihood_as_openai_meant_it(server: Setup) -> None:
    body = (await server.complete(best_of=3, temperature=1.0)).json()
    assert body["rerank"]["method"] == "likelihood"
    assert body["choices"][0]["text"] == "third"
    assert body["usage"]["completion_tokens"] == len("first") + len("second") + len("third") + 3
    exchange, _ = await server.parts.store.get(body["id"])
    assert exchange.options["sampling"]["temperature"] == 1.0
    assert (await server.complete(best_of=2, n=2)).json()["rerank"]["status"] == "off"


async def test_candidates_have_their_own_temperature(server: Setup) -> None:
    body = (await server.complete(temperature=0.1, rerank={"method": "likelihood"})).json()
    exchange, _ = await server.parts.store.get(body["id"])
    assert (exchange.options["sampling"]["temperature"], exchange.options["sampling"]["top_p"]) == (0.8, 0.95)
    assert exchange.candidates[0].greedy
    body = (await server.complete(temperature=0.1, rerank={"method": "off"})).json()
    exchange, _ = await server.parts.store.get(body["id"])
    assert exchange.options["sampling"]["temperature"] == 0.1


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"rerank": {"colour": 1}}, "rerank.colour"),
        ({"rerank": {"tests": {"code": "assert 1", "colour": 1}}}, "rerank.tests.colour"),
        ({"rerank": {"profile": "tests8"}}, "rerank.profile"),
        ({"rerank": {"profile": 8}}, "rerank.profile"),
        ({"rerank": {"verifier": "default"}}, "rerank.verifier"),
        ({"rerank": {"generate_tests": True}}, "rerank.generate_tests"),
        ({"rerank": {"generate_tests": 101}}, "rerank.generate_tests"),
        ({"rerank": {"generate_tests": 4, "method": "likelihood"}}, "rerank.generate_tests"),
        ({"rerank": {"generate_tests": 4, "method": "off"}}, "rerank.generate_tests"),
        ({"rerank": {"generate_tests": 0, "method": "b4"}}, "rerank.generate_tests"),
        ({"rerank": {"plans": 2}}, "rerank.plans"),
        ({"rerank": {"plans": 2, "method": "off"}}, "rerank.plans"),
        ({"rerank": {"repair_rounds": 5}}, "rerank.repair_rounds"),
        ({"rerank": {"repair_rounds": 1, "method": "b4"}}, "rerank.repair_rounds"),
        ({"rerank": {"repair_rounds": 1, "tests": {**TESTS, "visible": False}}}, "rerank.repair_rounds"),
        ({"rerank": {"suite_id": "s"}}, "rerank.suite_id"),
        ({"rerank": {"max_candidates": 16}}, "rerank.max_candidates"),
        ({"rerank": {"num_candidates": "many"}}, "rerank.num_candidates"),
        ({"rerank": {"num_candidates": "auto", "max_candidates": 65}}, "rerank.max_candidates"),
        ({"rerank": {"num_candidates": "auto"}, "best_of": 4}, "best_of"),
        ({"rerank": {"num_candidates": 65}}, "rerank.num_candidates"),
        ({"rerank": {"num_candidates": 0}}, "rerank.num_candidates"),
        ({"rerank": {"method": "vibes"}}, "rerank.method"),
        ({"rerank": {"method": "tests"}}, "rerank.tests"),
        ({"rerank": {"method": "off", "tests": TESTS}}, "rerank.tests"),
        ({"rerank": {"method": "likelihood", "tests": TESTS}}, "rerank.tests"),
        ({"rerank": {"tests": {"code": " "}}}, "rerank.tests.code"),
        ({"rerank": {"tests": {"code": "assert 1", "language": "rust"}}}, "rerank.tests.language"),
        ({"rerank": {"tests": {"code": "assert 1", "suite_id": "s"}}}, "rerank.tests.suite_id"),
        ({"rerank": {"tests": {"code": "assert 1", "timeout_ms": 1e9}}}, "rerank.tests.timeout_ms"),
        ({"rerank": {"tests": {"code": "assert 1", "memory_mb": 10**6}}}, "rerank.tests.memory_mb"),
        ({"rerank": {"dedupe": "text"}}, "rerank.dedupe"),
        ({"rerank": {"examples": "always"}}, "rerank.examples"),
        ({"rerank": {"early_exit": "never"}}, "rerank.early_exit"),
        ({"rerank": {"on_error": "cry"}}, "rerank.on_error"),
        ({"rerank": {"return": "some"}}, "rerank.return"),
        ({"rerank": {"deadline_ms": 0}}, "rerank.deadline_ms"),
        ({"rerank": {"num_candidates": 2}, "n": 3}, "n"),
        ({"rerank": {"num_candidates": 2}, "best_of": 3}, "best_of"),
        ({"best_of": 2, "n": 3}, "n"),
        ({"rerank": "auto"}, "rerank"),
    ],
)
async def test_what_cannot_be_honoured_is_refused_by_name(server: Setup, body: dict[str, Any], param: str) -> None:
    reply = await server.complete(**body)
    assert reply.status_code == 400, reply.text
    assert error_of(reply)["param"] == param


@pytest.mark.parametrize(
    ("headers", "body", "param"),
    [
        ({}, {"rerank": {"method": "off", "num_candidates": "auto"}}, "rerank.num_candidates"),
        ({}, {"rerank": {"method": "off", "num_candidates": "auto"}, "n": 20}, "rerank.num_candidates"),
        ({"X-Rerank": "vibes"}, {}, "X-Rerank"),
        ({"X-Rerank": "vibes"}, {"rerank": {"method": "moods"}}, "rerank.method"),
        ({"X-Rerank": "verifier"}, {}, "X-Rerank"),
        ({}, {"model": f"{MODEL}+auto0"}, "model"),
    ],
)
async def test_what_is_wrong_is_blamed_on_who_said_it(
    server: Setup, headers: dict[str, str], body: dict[str, Any], param: str
) -> None:
    assert error_of(await server.complete(headers=headers, **body))["param"] == param


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"n": True}, "n"),
        ({"n": "8"}, "n"),
        ({"temperature": "0.5"}, "temperature"),
        ({"max_tokens": True}, "max_tokens"),
        ({"seed": "1"}, "seed"),
        ({"best_of": True}, "best_of"),
        ({"logprobs": True}, "logprobs"),
        ({"logit_bias": {"1": True}}, "logit_bias"),
        ({"stream": "true"}, "stream"),
        ({"rerank": {"num_candidates": True}}, "rerank.num_candidates"),
        ({"rerank": {"num_candidates": "8"}}, "rerank.num_candidates"),
        ({"rerank": {"num_candidates": "AUTO"}}, "rerank.num_candidates"),
        ({"rerank": {"deadline_ms": True}}, "rerank.deadline_ms"),
        ({"rerank": {"tests": {"code": "assert 1", "timeout_ms": "9"}}}, "rerank.tests.timeout_ms"),
    ],
)
async def test_neither_booleans_nor_strings_are_numbers(server: Setup, body: dict[str, Any], param: str) -> None:
    error = error_of(await server.complete(**body))
    assert str(error["param"]).startswith(param)
    assert param != "rerank.num_candidates" or error["message"].endswith('must be a whole number, or "auto"')


async def test_whole_numbers_stand_for_floats(server: Setup) -> None:
    reply = await server.complete(temperature=1, top_p=1, rerank={"temperature": 1, "deadline_ms": 60000})
    assert reply.status_code == 200, reply.text


@pytest.mark.parametrize("swapped", [False, True])
async def test_the_passing_are_counted_in_whatever_order_the_prompts_come(server: Setup, swapped: bool) -> None:
    prompts = ["hello", 'def one():\n    """One.\n\n    >>> one()\n    1\n    """\n']
    body = (await server.complete(prompts[::-1] if swapped else prompts)).json()
    assert body["rerank"]["num_passing"] is not None


async def test_neutral_values_of_what_is_not_built_pass(server: Setup) -> None:
    neutral = {"profile": None, "verifier": None, "generate_tests": 0, "repair_rounds": 0}
    assert (await server.complete(rerank={**neutral, "tests": None})).status_code == 200


async def test_limits_of_the_request_reach_the_sandbox(serve: Serve) -> None:
    from .conftest import judge

    sandbox = ScriptedSandbox(judge)
    async with serve(sandbox=sandbox) as server:
        tests = {**TESTS, "timeout_ms": 1500, "memory_mb": 64, "visible": False}
        body = (await server.complete("def one():\n", rerank={"tests": tests})).json()
        program, suite, limits = sandbox.runs[0]
        assert (limits.wall_s, limits.test_wall_s, limits.memory_bytes) == (1.5, 1.5, 64 * 2**20)
        assert program.entry_point == "one"
        assert suite.visible is False
        exchange, _ = await server.parts.store.get(body["id"])
        assert exchange.suite is not None
        assert exchange.suite["visible"] is False


async def test_without_isolation_evidence_by_name_is_refused_and_auto_degrades_openly(serve: Serve) -> None:
    async with serve(isolated=False) as server:
        for method in ("tests", "examples"):
            reply = await server.complete("def one():\n", rerank={"method": method, "tests": TESTS})
            assert (reply.status_code, error_of(reply)["code"]) == (400, "sandbox_unavailable")
        block = (await server.complete("def one():\n", rerank={"tests": TESTS})).json()["rerank"]
        assert (block["status"], block["method"]) == ("degraded", "likelihood")
        assert "isolate" in block["reason"]


async def test_a_judge_that_fails_degrades_or_fails_as_asked(serve: Serve) -> None:
    async with serve(sandbox=ScriptedSandbox(LaunchFailed("no fork"))) as server:
        reply = await server.complete("def one():\n", rerank={"tests": TESTS})
        assert reply.headers["x-rerank-status"] == "degraded"
        assert "no fork" in reply.json()["rerank"]["reason"]
        reply = await server.complete("def one():\n", rerank={"tests": TESTS, "on_error": "fail"})
        assert (reply.status_code, error_of(reply)["code"]) == (503, "judge_failed")


async def test_a_deadline_returns_what_there_is(serve: Serve) -> None:
    async with serve(engine=ScriptedEngine({"hello": [Scripted("x" * 9000, delay_s=0.01)]})) as server:
        rerank = {"method": "likelihood", "num_candidates": 2, "deadline_ms": 700}
        body = (await server.complete(max_tokens=9000, rerank=rerank)).json()
        assert body["rerank"]["status"] == "deadline"
        assert body["choices"][0]["finish_reason"] == "length"
        assert 0 < len(body["choices"][0]["text"]) < 9000


async def test_chat_is_reranked_too(server: Setup) -> None:
    body = (await server.chat("def one():\n", rerank={"tests": TESTS})).json()
    assert body["choices"][0]["message"]["content"] == "    return 1"
    assert body["id"].startswith("chatcmpl-")
