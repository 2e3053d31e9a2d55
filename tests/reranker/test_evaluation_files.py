"""Evaluations on disk and on paper: JSON and run files come back as they were, and the page needs nothing else."""

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from reranker.evaluation import (
    DifferentRun,
    Header,
    Host,
    Measure,
    Record,
    Report,
    RunFile,
    Settings,
    SourceInfo,
    SuiteInfo,
    UnreadableFile,
    compare,
    make_report,
    read_report,
    report_data,
    write_json,
)
from reranker.evaluation.page import write_page
from reranker.evaluation.table import print_comparison, print_report
from sandbox import ProgramClass

PASS, PARTIAL = ProgramClass.PASS, ProgramClass.PARTIAL
HOST = Host(cpu="a <fast> one", cores=2, system="Linux", python="3.11", touchstone="0.1.0")
SUITE = SuiteInfo(name="small", source="memory", content_hash="sha256:0", problems=9)
SOURCE = SourceInfo(kind="engine", engine="scripted", model="m<1>", dtype="none", weights="a b2:0")
FOUR = Settings(n=4, ks=(1, 4))
HEADER = Header(created_at="2026-11-23T00:00:00+00:00", suite=SUITE, source=SOURCE, settings=FOUR, host=HOST)


def record(number: int, passing: int = 2) -> Record:
    return Record(
        task_id=f"t/{number}",
        position=number,
        tags={"n_steps": number % 3, "kind": "a<b" if number % 2 else "c"},
        texts=("right", "wrong \ud800 é"),
        classes=(PASS, PARTIAL),
        samples=(0,) * passing + (1,) * (4 - passing),
        greedy=1,
        orders={"likelihood": (3, 2, 1, 0), "examples": (0, 1, 2, 3)},
        logprobs=(-0.1, None, -0.3, -0.4),
        tokens=40,
        generate_s=0.5,
        judge_s=0.25,
        wall_s=0.75,
    )


def report(*, unjudged: bool = True, passing: int = 2) -> Report:
    records = [record(number, passing) for number in range(8)]
    if unjudged:
        records.append(Record(task_id="t/8", position=8, unjudged="t/8: `test` does not parse <at all>"))
    return replace(make_report(SUITE, SOURCE, FOUR, records), host=HOST)


def test_a_report_comes_back_from_json_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    write_json(path, report_data(report()))
    again = read_report(path)
    assert again == replace(report(), created_at=again.created_at)
    assert json.loads(json.dumps(report_data(again))) == json.loads(path.read_text())
    assert {type(value) for each in again.records for value in each.tags.values()} == {int, str}
    assert list(tmp_path.iterdir()) == [path]


def test_the_json_holds_every_number(tmp_path: Path) -> None:
    data = report_data(report())
    assert data["kind"] == "touchstone evaluation"
    assert data["schema_version"] == 1
    assert data["counts"]["problems"] == 9
    assert data["counts"]["judged"] == 8
    assert data["wall_s"] == pytest.approx(6)
    assert data["ms_per_token"] == pytest.approx(6000 / 320)
    examples = next(each for each in data["measures"] if (each["name"], each["k"]) == ("examples", 4))
    assert examples == {"name": "examples", "k": 4, "value": 1, "low": 1, "high": 1, "problems": 8}
    assert {(group["tag"], group["value"]) for group in data["groups"]} == {
        ("kind", "a<b"),
        ("kind", "c"),
        ("n_steps", 0),
        ("n_steps", 1),
        ("n_steps", 2),
    }
    assert len(data["records"]) == 9


def few(data: dict[str, Any]) -> dict[str, Any]:
    """A record with one sample."""
    return data | {"samples": [0], "orders": {}, "logprobs": []}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda data: data | {"schema_version": 2}, "schema_version is 2; this Touchstone reads 1"),
        (lambda data: data | {"kind": "shopping"}, "no report of an evaluation"),
        (lambda data: data | {"surprise": 1}, "surprise: "),
        (lambda data: data | {"settings": {**data["settings"], "extra": 1}}, "settings.extra: "),
        (lambda data: data | {"records": [{**data["records"][0], "samples": [7]}]}, "samples: t/0"),
        (lambda data: data | {"records": [{**data["records"][0], "orders": {"x": [0, 0, 1, 2]}}]}, "orders: 'x'"),
        (lambda data: data | {"records": [{**data["records"][0], "classes": ["good"]}]}, "classes"),
        (lambda data: data | {"records": [{}]}, "task_id"),
        (lambda data: data | {"records": [few(data["records"][0])]}, "samples of t/0: 1 where 4 were asked for"),
        (lambda data: [data], "not a JSON object"),
    ],
)
def test_a_file_that_is_something_else_is_refused_by_name(
    tmp_path: Path, change: Callable[[dict[str, Any]], Any], said: str
) -> None:
    path = tmp_path / "report.json"
    write_json(path, change(report_data(report())))
    with pytest.raises(UnreadableFile, match=said) as caught:
        read_report(path)
    assert str(caught.value).startswith(str(path))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFile, match=r"nothing.json: No such file"):
        read_report(tmp_path / "nothing.json")


def test_a_run_goes_on_where_it_stopped_and_a_broken_line_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    with RunFile.open(path, HEADER) as run:
        run.append(record(1))
        run.append(record(0))
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"task_id":"t/2","te')
    assert [each.task_id for each in read_report(path).records] == ["t/0", "t/1"]
    with RunFile.open(path, replace(HEADER, created_at="later", settings=replace(FOUR, ks=(1, 2)))) as run:
        assert run.records == (record(0), record(1))
        assert path.read_bytes() == whole
        run.append(record(2))
    assert read_report(path).records == (record(0), record(1), record(2))


def test_another_version_of_touchstone_goes_on_with_a_run(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    with RunFile.open(path, HEADER) as run:
        run.append(record(0))
    assert json.loads(path.read_bytes().splitlines()[0])["host"]["touchstone"] == "0.1.0"
    with RunFile.open(path, replace(HEADER, host=replace(HOST, touchstone="0.2.0"))) as run:
        assert run.records == (record(0),)


def test_a_run_with_too_few_samples_is_refused_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    with RunFile.open(path, HEADER) as run:
        run.append(replace(record(0), samples=(0,), orders={}, logprobs=()))
    for read in (read_report, lambda path: RunFile.open(path, HEADER)):
        with pytest.raises(UnreadableFile, match=r"run.jsonl:2: samples: 1 where 4 were asked for"):
            read(path)


def test_a_header_that_was_cut_off_begins_anew(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    path.write_bytes(b'{"kind":"touchstone eval')
    with RunFile.open(path, HEADER) as run:
        run.append(record(0))
    assert read_report(path).records == (record(0),)


@pytest.mark.parametrize(
    ("header", "said"),
    [
        (replace(HEADER, settings=replace(FOUR, temperature=0.2)), "temperature: 0.8 there, 0.2 here"),
        (replace(HEADER, settings=replace(FOUR, n=8)), "n: 4 there, 8 here"),
        (replace(HEADER, suite=replace(SUITE, content_hash="sha256:1")), "suite: 'sha256:0' there"),
        (replace(HEADER, source=replace(SOURCE, dtype="int8")), "source.dtype: 'none' there, 'int8' here"),
        (replace(HEADER, source=replace(SOURCE, weights="b b2:1")), "source.weights: 'a b2:0' there, 'b b2:1' here"),
    ],
)
def test_another_run_is_refused_naming_what_differs(tmp_path: Path, header: Header, said: str) -> None:
    path = tmp_path / "run.jsonl"
    RunFile.open(path, HEADER).__exit__(None, None, None)
    with pytest.raises(DifferentRun, match=said):
        RunFile.open(path, header)


def test_a_run_file_has_one_writer_and_no_other_files_are_written(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    with RunFile.open(path, HEADER), pytest.raises(UnreadableFile, match="another evaluation"):
        RunFile.open(path, HEADER)
    letter = tmp_path / "letter.txt"
    letter.write_text("Dear Sir,")
    with pytest.raises(UnreadableFile, match="no run file"):
        RunFile.open(letter, HEADER)
    assert letter.read_text() == "Dear Sir,"
    path.write_bytes(path.read_bytes() + b'{"task_id": 3}\n')
    with pytest.raises(UnreadableFile, match=r"run.jsonl:2: task_id"):
        RunFile.open(path, HEADER)


class Page(HTMLParser):
    """What a page holds, and where it leads."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.open: list[str] = []
        self.leads: list[str] = []
        self.text = ""
        self.feed(path.read_text())
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.leads += [
            value or "" for name, value in attrs if name in ("src", "href", "xlink:href", "srcset", "action")
        ]
        if tag not in ("meta", "rect", "path", "circle"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_is_whole_and_needs_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    before, after = report(passing=1), report(passing=3)
    write_page(path, after, compare(before, after))
    page, source = Page(path), path.read_text()
    assert page.open == []
    assert page.leads == []
    assert not {"script", "link", "img", "iframe", "object"} & set(page.tags)
    assert not any(word in source for word in ("url(", "@import", "http://", "https://"))
    assert {"svg", "title", "desc", "table"} <= set(page.tags)
    assert "prefers-color-scheme: dark" in source
    assert 'lang="en"' in source
    text = " ".join(page.text.split())
    for said in (
        "m<1>",
        "a<b",
        "a <fast> one",
        "does not parse <at all>",
        "t/7",
        "oracle (pass@k)",
        "+50.0",
        "By n_steps",
    ):
        assert said in text, said


def test_a_page_without_a_choice_or_a_judged_problem_is_a_page(tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    nothing = replace(report(), records=(Record(task_id="t/8", unjudged="t/8: no"),))
    write_page(path, nothing)
    assert "t/8: no" in Page(path).text
    for classes in ((PASS, PASS), (PARTIAL, PARTIAL)):
        write_page(path, replace(report(), records=(replace(record(0), classes=classes),)))
        assert "svg" in Page(path).tags
        assert "nan" not in path.read_text().partition("<svg")[2].partition("</svg>")[0]
    alone = Record(task_id="t/0", texts=("x",), classes=(PASS,), samples=(0,))
    write_page(path, replace(report(), records=(alone,), settings=replace(FOUR, n=1, ks=(1,))))
    assert "One sample solves" in Page(path).text
    assert "svg" not in Page(path).tags


def test_the_tables_hold_every_measure(capsys: pytest.CaptureFixture[str]) -> None:
    found = report()
    print_report(found)
    print_comparison(compare(found, report(passing=4)))
    said = capsys.readouterr().out
    for measure in found.measures():
        assert measure.name in said
        assert f"{100 * measure.estimate.value:.1f} [" in said, _named(measure)
    for expected in (
        "8 of 9 problems judged; 1 with tests that could not run",
        "not judged: t/8",
        "8 problems in both",
        "before: m<1>, a b2:0, none, 4 samples",
    ):
        assert expected in said


def _named(measure: Measure) -> str:
    return str(asdict(measure))
