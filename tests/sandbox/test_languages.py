"""The exec runner by itself, its processes unconfined: what each language's programs come to, and what is kept."""

from __future__ import annotations

import asyncio
import re
import shutil
from dataclasses import replace

import pytest

from sandbox import (
    AssertSuite,
    Call,
    CallSuite,
    Input,
    InvalidSuite,
    LaunchFailed,
    Limits,
    ObserveSuite,
    Program,
    Status,
    StdioCase,
    StdioSuite,
    TestOutcome,
    UnsupportedLanguage,
    check_language,
    found_languages,
    takes_calls,
)
from sandbox.languages import Artifacts, ExecRunner, Executed, ExecuteJob, OnFrame, find_language
from sandbox.languages.artifacts import Artifact

from .plain import execute_plainly
from .programs import ADD, BOTH, CALLED, CPP_ADD, JAVA_CALLED, JS_ADD, JS_CALLED, PROGRAMS, Given, calls, missing, need

LIMITS = Limits(test_wall_s=20)


@pytest.fixture(scope="module")
def runner() -> ExecRunner:
    return ExecRunner()


def program(language: str, source: str, **more: object) -> Program:
    return Program(completion=source, language=language, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("given", PROGRAMS, ids=lambda given: f"{given.language}: {given.name}")
async def test_a_whole_program_comes_to(given: Given, runner: ExecRunner) -> None:
    need(given.language)
    seen: list[TestOutcome] = []
    outcome = await ExecRunner(runner.artifacts).run(
        execute_plainly, program(given.language, given.source, files=given.files), given.suite, LIMITS, seen.append
    )
    assert (outcome.status, outcome.form) == (given.status, "stdio")
    assert re.search(given.says, outcome.message)
    assert len(outcome.tests) == len(given.suite.cases)
    reported = () if given.status is Status.COMPILE_ERROR else outcome.tests
    assert tuple(seen) == reported


@pytest.mark.parametrize("language", CALLED)
async def test_calls_are_answered_in_the_programs_own_language(language: str, runner: ExecRunner) -> None:
    need(language)
    suite = calls(*(call[:3] for call in BOTH))
    outcome = await runner.run(execute_plainly, program(language, CALLED[language]), suite, LIMITS)
    found = [(test.name, test.status) for test in outcome.tests]
    assert found == [(name, status) for name, _, _, status in BOTH]
    assert outcome.form == "calls"


async def test_javas_values_have_the_types_of_the_parameters(runner: ExecRunner) -> None:
    need("java")
    suite = calls(
        ("sorted", ([3, 1, 2],), [1, 2, 3]),
        ("rows", ([[1], [2**40]],), [[1], [2**40]]),
        ("letter", ("a",), "b"),
        ("letter", ("ab",), "b"),
        ("sorted", ([2**40],), []),
        ("sorted", ([None],), []),
    )
    outcome = await runner.run(execute_plainly, program("java", JAVA_CALLED), suite, LIMITS)
    right, wrong = [Status.PASSED] * 3, [Status.UNSUPPORTED_VALUE] * 3
    assert [test.status for test in outcome.tests] == right + wrong


@pytest.mark.parametrize(
    ("source", "status"),
    [
        ("function add(a, b) { return a +; }", Status.COMPILE_ERROR),
        ("null.x;", Status.RUNTIME_ERROR),
        ("process.exit(0);", Status.EARLY_EXIT),
        ("function add(a, b) { process.exit(0); }", Status.EARLY_EXIT),
        ("function add(a, b) { return new Promise(() => {}); }", Status.EARLY_EXIT),
        ("module.exports = { add: (a, b) => a + b };", Status.PASSED),
        ("export function add(a, b) { return a + b; }", Status.PASSED),
        ("class Solution { static add(a, b) { return a + b; } }", Status.PASSED),
        # What an honest program may do to the language's own objects does not reach the answers.
        ("JSON.stringify = JSON.parse = null; Map = Set = String = null; const add = (a, b) => a + b;", Status.PASSED),
        ("Object.prototype.toJSON = () => 3; Array.isArray = null; var add = () => 3;", Status.PASSED),
        # Frames of the program's own are answers like any other: right only where the answer is.
        (
            "const fs = require('fs'); const say = (t) => { const b = Buffer.from(t), h = Buffer.alloc(4);"
            "h.writeUInt32BE(b.length); fs.writeSync(3, Buffer.concat([h, b])); };"
            'say(\'{"loaded":true}\'); say(\'{"id":0,"value":true}\'); fs.writeSync(3, Buffer.alloc(4));',
            Status.WRONG_ANSWER,
        ),
        ("require('fs').writeSync(3, Buffer.from([0, 0, 0, 1, 65]));", Status.PROTOCOL_ERROR),
    ],
)
async def test_javascript_that_is_called(source: str, status: Status, runner: ExecRunner) -> None:
    need("javascript")
    outcome = await runner.run(execute_plainly, program("javascript", source), calls(("add", (1, 2), 3)), LIMITS)
    assert outcome.status is status, outcome.message


async def test_a_call_that_runs_out_of_time_is_followed_by_the_rest(runner: ExecRunner) -> None:
    need("javascript")
    source = "function f(x) { while (x % 2); return x; }"
    suite = calls(*(("f", (number,), number) for number in (0, 1, 2, 3, 4, 5, 6)))
    limits = Limits(test_wall_s=1, test_cpu_s=1)
    outcome = await runner.run(execute_plainly, program("javascript", source), suite, limits)
    late, passed = Status.TIMEOUT_WALL, Status.PASSED
    assert [test.status for test in outcome.tests] == [passed, late, passed, late, passed, late, Status.NOT_RUN]
    first = await runner.run(
        execute_plainly, program("javascript", source), suite, replace(limits, stop_on_failure=True)
    )
    assert [test.status for test in first.tests][:3] == [passed, late, Status.NOT_RUN]


async def test_a_case_that_fails_is_the_last_when_told_so(runner: ExecRunner) -> None:
    need("javascript")
    suite = StdioSuite((StdioCase("1 2", "3"), StdioCase("1 3", "0"), StdioCase("1 2", "3")))
    outcome = await runner.run(execute_plainly, program("js", JS_ADD), suite, replace(LIMITS, stop_on_failure=True))
    assert [test.status for test in outcome.tests] == [Status.PASSED, Status.WRONG_ANSWER, Status.NOT_RUN]


async def test_assertions_of_literal_calls_are_put_to_a_program_that_can_be_called(runner: ExecRunner) -> None:
    need("javascript")
    suite = AssertSuite("assert add(1, 2) == 3\nassert same([1, 'a']) == [1, 'a']\nassert add(1, 1) == 3\n")
    outcome = await runner.run(execute_plainly, program("javascript", JS_CALLED, entry_point="add"), suite, LIMITS)
    assert [test.status for test in outcome.tests] == [Status.PASSED, Status.PASSED, Status.WRONG_ANSWER]


@pytest.mark.parametrize(
    ("language", "suite", "says"),
    [
        ("javascript", AssertSuite("for x in range(3):\n    assert add(x, 1) > x\n"), "need Python"),
        ("cpp", AssertSuite("assert add(1, 2) == 3"), "give|cannot be called from outside; use stdio"),
        ("cpp", calls(("f", (), 1)), "C\\+\\+ cannot be called from outside"),
        ("javascript", ObserveSuite((Input(function="f"), Input(stdin="1"))), "or all of the whole program"),
        ("cpp", ObserveSuite((Input(function="f"),)), "cannot be called from outside"),
        ("javascript", CallSuite((Call(function="f", kwargs=(("a", 1),), expected=1),)), "names its arguments"),
        ("java", calls(("f", (1j,), 1)), "no kind for"),
        ("java", calls(("f", (object(),), 1)), "only plain data"),
        ("javascript", StdioSuite(()), "no test"),
        ("javascript", CallSuite(()), "no test"),
    ],
)
async def test_what_cannot_be_put_to_a_language_is_refused_by_name(
    language: str, suite: StdioSuite, says: str, runner: ExecRunner
) -> None:
    need(language)
    with pytest.raises(InvalidSuite, match=says):
        await runner.run(execute_plainly, program(language, ""), suite, LIMITS)


async def test_inputs_are_observed(runner: ExecRunner) -> None:
    need("javascript")
    inputs = tuple(Input(function="same", args=(value,)) for value in (1, [1], [1], "1"))
    called = await runner.run(
        execute_plainly, program("js", JS_CALLED), ObserveSuite((*inputs, Input(function="fail"))), LIMITS
    )
    assert [test.status for test in called.tests] == [Status.PASSED] * 4 + [Status.RUNTIME_ERROR]
    assert [test.value for test in called.tests] == ["1", "[1]", "[1]", "'1'", None]
    hashes = [test.value_hash for test in called.tests]
    assert (len(set(hashes[:4])), hashes[1], hashes[4]) == (3, hashes[2], None)
    whole = await runner.run(
        execute_plainly, program("js", JS_ADD), ObserveSuite((Input(stdin="1 2"), Input(stdin="2 1"))), LIMITS
    )
    first, second = whole.tests
    assert (called.form, whole.form, first.status) == ("observe", "observe", Status.PASSED)
    assert first.value_hash == second.value_hash is not None


@pytest.mark.parametrize("path", ["../x", "/x", "a//b", "./a", "", "a/..", "touchstone/calls.js"])
async def test_a_file_stays_inside_the_programs_folder(path: str, runner: ExecRunner) -> None:
    need("javascript")
    with pytest.raises(InvalidSuite):
        await runner.run(execute_plainly, program("javascript", JS_ADD, files=((path, ""),)), ADD, LIMITS)


async def test_a_program_is_compiled_once_even_when_many_ask_at_once(runner: ExecRunner) -> None:
    need("cpp")
    jobs: list[ExecuteJob] = []

    async def counted(job: ExecuteJob, on_frame: OnFrame | None = None) -> Executed:
        jobs.append(job)
        return await execute_plainly(job, on_frame)

    own = ExecRunner()
    wrong = CPP_ADD.replace(";", "")
    sources = [CPP_ADD, wrong] * 3
    outcomes = await asyncio.gather(*(own.run(counted, program("c++", source), ADD, LIMITS) for source in sources))
    assert [outcome.status for outcome in outcomes] == [Status.PASSED, Status.COMPILE_ERROR] * 3
    assert sum(job.kind == "compile" for job in jobs) == 3  # the greeting, and each of the two
    assert (own.artifacts.misses, own.artifacts.hits) == (3, 4)


async def test_what_compilers_made_is_kept_within_its_bytes() -> None:
    kept = Artifacts(most_bytes=10_000)

    async def make() -> Artifact:
        return Artifact(files={"program": bytes(2_000)})

    for number in range(8):
        await kept.get(bytes([number]), make)
        assert kept.size_bytes <= 10_000
    await kept.get(bytes([7]), make)
    await kept.get(bytes([0]), make)
    assert (kept.hits, kept.misses) == (1, 9)

    async def late() -> Artifact:
        return Artifact(status=Status.TIMEOUT_WALL)

    async def gone() -> Artifact:
        raise LaunchFailed("gone")

    with pytest.raises(LaunchFailed):
        await kept.get(b"gone", gone)
    await kept.get(b"late", late)  # a limit met on a busy host says nothing of the next time
    assert (await kept.get(b"late", make)).status is None
    assert (await kept.get(b"gone", make)).status is None


async def test_tools_that_do_not_work_in_the_sandbox_are_no_candidates_fault() -> None:
    need("cpp")

    async def broken(job: ExecuteJob, on_frame: OnFrame | None = None) -> Executed:
        if job.kind == "compile":
            return await execute_plainly(job, on_frame)
        return Executed(exit=127, stderr=b"./program: Permission denied\n")

    with pytest.raises(UnsupportedLanguage, match=r"does not work inside the sandbox: .*Permission denied"):
        await ExecRunner().run(broken, program("cpp", CPP_ADD), ADD, LIMITS)


async def test_expected_values_never_reach_a_process(runner: ExecRunner) -> None:
    need("javascript")
    seen: list[bytes] = []

    async def watched(job: ExecuteJob, on_frame: OnFrame | None = None) -> Executed:
        seen.append(job.to_bytes() + job.stdin)
        return await execute_plainly(job, on_frame)

    own = ExecRunner(runner.artifacts)
    secret = "7c1f9be2"
    await own.run(watched, program("js", JS_ADD), StdioSuite((StdioCase("1 2", secret),)), LIMITS)
    await own.run(watched, program("js", JS_CALLED), calls(("add", (1, 2), secret)), LIMITS)
    assert seen
    assert not any(secret.encode() in data for data in seen)


def test_languages_are_found_by_name_and_alias(monkeypatch: pytest.MonkeyPatch) -> None:
    names = {name: find_language(name).name for name in ("JS", "node", "c++", "sv", "SystemVerilog", "Java", "verilog")}
    assert set(names.values()) == {"javascript", "cpp", "verilog", "java"}
    with pytest.raises(
        UnsupportedLanguage, match="unknown language 'cobol'; known: python, cpp, java, javascript, verilog"
    ):
        check_language("cobol")
    assert [takes_calls(name) for name in ("py", "js", "java", "cpp", "sv")] == [True, True, True, False, False]
    check_language("python3")
    monkeypatch.setenv("PATH", "/nowhere")
    assert shutil.which("node") is None
    with pytest.raises(UnsupportedLanguage) as caught:
        check_language("js")
    assert str(caught.value) == "JavaScript needs node, which is not installed: apt-get install nodejs"
    found = found_languages()
    assert set(found) == {"cpp", "java", "javascript", "verilog"}
    assert all(isinstance(error, UnsupportedLanguage) and error.how_to_fix for error in found.values())


def test_java_is_asked_for_what_it_reads_elsewhere() -> None:
    if missing("java"):
        pytest.skip("no Java here")
    folders = find_language("java").find().folders
    assert not any(folder.startswith(("/usr/", "/lib")) for folder in folders)
