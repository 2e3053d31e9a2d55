"""Suites of problems: every layout that is read, what is refused and how it is said, and what comes back as written."""

import gzip
import json
import os
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reranker.evaluation import (
    InvalidProblem,
    Problem,
    ProblemSuite,
    StdioCase,
    UnknownSuite,
    load_suite,
    read_problems,
    write_problems,
)

relaxed = settings(deadline=None, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

paths = st.lists(st.text("abc_- .é", min_size=1).filter(lambda part: part not in (".", "..")), min_size=1, max_size=3)
problems = st.builds(
    Problem,
    task_id=st.text(min_size=1),
    prompt=st.text(),
    entry_point=st.none() | st.text(),
    canonical_solution=st.none() | st.text(),
    test=st.none() | st.text(),
    suffix=st.none() | st.text(),
    visible_test=st.none() | st.text(),
    stdio=st.lists(st.builds(StdioCase, input=st.text(), output=st.text(), visible=st.booleans()), max_size=2).map(
        tuple
    ),
    files=st.dictionaries(paths.map("/".join), st.text(), max_size=2),
    language=st.text(min_size=1),
    tags=st.dictionaries(
        st.text(),
        st.text() | st.integers() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False),
        max_size=3,
    ),
)
ONE = Problem(task_id="a", prompt="def f(x):\n", entry_point="f", test="assert f(1) == 2\n", tags={"n_steps": 2})


def with_field(name: str, value: Any) -> Problem:
    return replace(ONE, **{name: value})


@relaxed
@given(st.lists(problems, min_size=1, max_size=3, unique_by=lambda problem: problem.task_id), st.booleans())
def test_what_is_written_is_read_again(tmp_path: Path, given: list[Problem], packed: bool) -> None:
    path = tmp_path / ("suite.jsonl.gz" if packed else "suite.jsonl")
    write_problems(path, given)
    data = path.read_bytes()
    again = read_problems(path)
    assert again == tuple(given)
    assert [problem.content_hash for problem in again] == [problem.content_hash for problem in given]
    assert [repr(problem.tags) for problem in again] == [repr(dict(sorted(problem.tags.items()))) for problem in given]
    write_problems(path, again)
    assert path.read_bytes() == data


@pytest.mark.parametrize("name", [field.name for field in fields(Problem)])
def test_every_field_counts_in_the_hash(name: str) -> None:
    other: Any = {"stdio": (StdioCase(input="", output=""),), "files": {"x": ""}, "tags": {"n_steps": 2.0}}.get(
        name, ""
    )
    changed = with_field(name, other or "b")
    assert changed.content_hash != ONE.content_hash
    if name == "tags":
        assert replace(ONE, tags={"n_steps": True}).content_hash != replace(ONE, tags={"n_steps": 1}).content_hash
    if isinstance(getattr(ONE, name), str | None) and name not in ("task_id", "prompt", "language"):
        assert with_field(name, None).content_hash != with_field(name, "").content_hash


def test_the_hash_of_a_problem_is_the_same_everywhere() -> None:
    reordered = replace(ONE, tags={"b": 1, "a": 2})
    assert reordered.content_hash == replace(ONE, tags={"a": 2, "b": 1}).content_hash
    assert ONE.content_hash == "sha256:3437ea3c0a219c8672cec9223af407b12ae7376e4f1c859288b7b0edd530e695"


def test_the_hash_of_a_suite_depends_on_the_order() -> None:
    two = (ONE, replace(ONE, task_id="b"))
    forth, back = (ProblemSuite(name="s", problems=order, source="") for order in (two, two[::-1]))
    assert forth.content_hash != back.content_hash
    assert forth.content_hash == ProblemSuite(name="t", problems=two, source="elsewhere").content_hash


ROW = {"task_id": "a", "prompt": "p"}
STDIO = {"input": "1", "output": "2"}


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([{**ROW, "promt": "x"}], ["line 1", "`promt`"]),
        ([{"task_id": "a"}], ["line 1", "`prompt`", "required"]),
        ([ROW, {**ROW, "task_id": 7}], ["line 2", "`task_id`", "string"]),
        ([ROW, {**ROW, "task_id": ""}], ["line 2", "`task_id`", "empty"]),
        ([ROW, {"task_id": "b", "prompt": "p"}, ROW], ["line 3", "`task_id`", "'a'", "line 1"]),
        ([{**ROW, "test": ["assert f"]}], ["line 1", "`test`"]),
        ([{**ROW, "stdio": [STDIO, {"input": "1"}]}], ["line 1", "`stdio.1.output`"]),
        ([{**ROW, "stdio": [{**STDIO, "hidden": True}]}], ["line 1", "`stdio.0.hidden`"]),
        ([{**ROW, "stdio": [{**STDIO, "visible": 1}]}], ["line 1", "`stdio.0.visible`"]),
        ([{**ROW, "files": {"/etc/passwd": ""}}], ["line 1", "`files`", "'/etc/passwd'"]),
        ([{**ROW, "files": {"a/../../b": ""}}], ["line 1", "`files`", "'a/../../b'"]),
        ([{**ROW, "files": {"a//b": ""}}], ["line 1", "`files`", "'a//b'"]),
        ([{**ROW, "files": {"": ""}}], ["line 1", "`files`", "''"]),
        ([{**ROW, "files": {"a\0": ""}}], ["line 1", "`files`"]),
        ([{**ROW, "files": {"a": 1}}], ["line 1", "`files.a`"]),
        ([{**ROW, "tags": {"a": [1]}}], ["line 1", "`tags.a"]),
        ([{**ROW, "tags": {"a": float("nan")}}], ["line 1", "`tags.a"]),
        ([{"task_id": 1, "text": "t", "code": "c", "test_list": []}], ["line 1", "`test_list`"]),
        ([{"task_id": 1, "text": "t", "code": "c", "test_list": ["assert f"], "tests": []}], ["line 1", "`tests`"]),
        ([{"task_id": "1", "text": "t", "code": "c", "test_list": ["assert f"]}], ["line 1", "`task_id`", "integer"]),
        ([[ROW]], ["line 1", "not an object"]),
        (['{"task_id": "a", "prompt": "p", "prompt": "q"}'], ["line 1", "`prompt`", "twice"]),
        (['{"task_id": "a", '], ["line 1", "not JSON"]),
        (["[" * 100_000], ["line 1", "not JSON"]),
        ([], ["no problem"]),
        (["", "  "], ["no problem"]),
    ],
    ids=str,
)
def test_an_error_names_file_line_and_field(tmp_path: Path, lines: list[Any], said: list[str]) -> None:
    path = tmp_path / "mine.jsonl"
    path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines))
    with pytest.raises(InvalidProblem) as caught:
        read_problems(path)
    assert [word for word in (str(path), *said) if word not in str(caught.value)] == []


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.jsonl", b'{"task_id": "\xff"}'),
        ("a.jsonl.gz", b"{}"),
        ("a.jsonl.gz", gzip.compress(b"{}" * 100)[:-9]),
        ("a.json", b'{"task_id": "a", "prompt": "p"}'),
    ],
)
def test_a_damaged_file_is_named(tmp_path: Path, name: str, data: bytes) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(InvalidProblem, match=name):
        read_problems(tmp_path / name)


@pytest.mark.parametrize(
    "fault",
    [
        lambda: Problem(task_id="", prompt=""),
        lambda: replace(ONE, files={"../a": ""}),
        lambda: replace(ONE, tags={"a": float("inf")}),
        lambda: ProblemSuite(name="s", problems=(), source=""),
        lambda: ProblemSuite(name="s", problems=(ONE, ONE), source=""),
    ],
)
def test_what_could_not_be_read_again_is_not_made(fault: Callable[[], object]) -> None:
    with pytest.raises(InvalidProblem):
        fault()


def test_a_null_is_a_field_that_is_absent(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({**ROW, "suffix": None, "stdio": None}) + "\n\n")
    assert read_problems(path) == (Problem(task_id="a", prompt="p"),)


def test_a_line_ends_at_a_line_feed_only(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({**ROW, "prompt": "\u2028\x85"}, ensure_ascii=False))
    assert read_problems(path)[0].prompt == "\u2028\x85"


ORIGINAL = {
    "task_id": 11,
    "text": 'Say "hello" with a \\.',
    "code": "def tail(x):\n    return x\ndef head(x):\n    return tail(x)",
    "test_list": ["assert head(1) == 1", "assert math.floor(head(2)) == 2"],
    "test_setup_code": "",
    "challenge_test_list": [],
}
SANITIZED = {
    "source_file": "Benchmark.ipynb",
    "task_id": 11,
    "prompt": ORIGINAL["text"],
    "code": ORIGINAL["code"],
    "test_imports": ["import math"],
    "test_list": ORIGINAL["test_list"],
}


def test_mbpp_is_read_as_it_is_published(tmp_path: Path) -> None:
    jsonl, listed = tmp_path / "mbpp.jsonl", tmp_path / "sanitized-mbpp.json"
    jsonl.write_text(json.dumps({**ORIGINAL, "test_setup_code": "import math"}))
    listed.write_text(json.dumps([SANITIZED], indent=1))
    (problem,) = read_problems(jsonl)
    assert read_problems(listed) == (problem,)
    assert (problem.task_id, problem.entry_point) == ("MBPP/11", "head")
    assert problem.visible_test == "import math\nassert head(1) == 1\n"
    assert problem.test == "import math\nassert head(1) == 1\nassert math.floor(head(2)) == 2\n"
    namespace: dict[str, Any] = {}
    exec(problem.prompt + (problem.canonical_solution or "") + "\n" + problem.test, namespace)
    exec("__doc__ = " + problem.prompt, namespace)
    assert namespace["__doc__"] == '\nSay "hello" with a \\.\nassert head(1) == 1\n'


def test_the_bundled_suite_is_shipped() -> None:
    suite = load_suite("bundled")
    assert suite.name == "bundled"
    assert len(suite.problems) >= 100
    assert {problem.language for problem in suite.problems} == {"python"}
    assert all("n_steps" in problem.tags and problem.canonical_solution for problem in suite.problems)


def test_a_suite_is_a_file_too(tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    write_problems(path, [ONE])
    suite = load_suite(str(path))
    assert (suite.name, suite.problems, suite.source) == ("mine", (ONE,), str(path))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("humanevil", ["'humanevil'", "bundled", "humaneval", "mbpp", "datasets:"]),
        ("nowhere.jsonl", ["nowhere.jsonl", "no such file"]),
        ("datasets:", ["datasets:NAME"]),
        ("datasets:a:b:c:d", ["datasets:NAME"]),
        ("datasets:a::test", ["datasets:NAME"]),
    ],
)
def test_an_unknown_suite_is_told_what_there_is(name: str, said: list[str]) -> None:
    with pytest.raises(UnknownSuite) as caught:
        load_suite(name)
    assert [word for word in said if word not in str(caught.value)] == []


@pytest.mark.parametrize("name", ["suite.txt", "suite.json"])
def test_suites_are_written_as_lines(tmp_path: Path, name: str) -> None:
    with pytest.raises(UnknownSuite, match="jsonl"):
        write_problems(tmp_path / name, [ONE])


def test_public_suites_say_how_to_get_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TOUCHSTONE_DATA", raising=False)
    with pytest.raises(UnknownSuite, match="set TOUCHSTONE_DATA"):
        load_suite("mbpp")
    monkeypatch.setenv("TOUCHSTONE_DATA", str(tmp_path))
    with pytest.raises(UnknownSuite, match=r"humaneval\.jsonl\.gz is missing"):
        load_suite("humaneval")
    write_problems(tmp_path / "humaneval.jsonl.gz", [ONE])
    assert load_suite("humaneval").problems == (ONE,)


def test_humaneval_is_read_as_it_is() -> None:
    folder = os.environ.get("TOUCHSTONE_DATA")
    if not folder:
        pytest.skip("TOUCHSTONE_DATA does not name a folder of data sets")
    with gzip.open(Path(folder) / "humaneval.jsonl.gz", "rt") as lines:
        rows = [json.loads(line) for line in lines]
    assert load_suite("humaneval").problems == tuple(Problem(**row) for row in rows)
