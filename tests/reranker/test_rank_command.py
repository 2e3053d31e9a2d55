"""`touchstone rank` as a process: ranked, killed and gone on with, interrupted, refused, looked at."""

import json
import re
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from reranker.errors import InvalidVerifier
from reranker.evaluation import write_problems
from reranker.pool.cli import app
from reranker.verifier.load import Loaded

from .evaluations import confined
from .pools import PASSES, PROBLEM, begin, make_discriminator, read_lines, row, run, write, write_pool

ALL = {"examples", "majority", "static", "agreement", "agreement_sqrt", "b4", "clusters", "srank", "auto"}


@pytest.fixture
async def isolated() -> None:
    async with confined():
        pass


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.005)


def lines(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


@pytest.mark.usefixtures("isolated")
def test_every_method_ranks_every_problem_and_the_table_says_what_it_is_worth(tmp_path: Path) -> None:
    write_pool(tmp_path, 4)
    code, said, complained = run(tmp_path, "pool.jsonl", "--problems", "problems.jsonl", "--out", "o.jsonl")
    assert (code, complained) == (0, "")
    found = read_lines(tmp_path / "o.jsonl")
    assert {method for _, method in found} == ALL
    assert len(found) == 4 * len(ALL)
    for (_, method), line in found.items():
        assert set(line) == {"task_id", "method", "ranking", "scores"} | ({"by"} if method == "auto" else set())
        assert sorted(line["ranking"]) == list(range(len(line["scores"])))
    first = found["p/0", "agreement"]
    # Of 4 tests, weighing 5, the three right programs pass the four right ones; by heart passes 3; wrong passes 1.
    assert first["scores"] == [1.0, 12.0, 3.0, 12.0, None, 12.0]
    assert first["ranking"] == [1, 5, 3, 2, 0, 4]
    assert PASSES[first["ranking"][0]]
    assert found["p/0", "examples"]["scores"] == [0.0, 1.0, 1.0, 1.0, 0.0, 1.0]
    rows = {line.split()[0]: line.split() for line in said.splitlines() if line.strip()}
    assert rows["random"][1] == "41.7"
    assert rows["agreement"][1] == "100.0"
    assert rows["examples"][1] == "62.5"
    assert rows["oracle"][1] == "100.0"
    assert "4 problems with labels, 4 of them solvable" in said
    assert "likelihood needs `logprobs` in a line of the pool" in said
    assert "a mean over 10 draws; the oracle's is pass@k itself" in " ".join(said.split())


@pytest.mark.usefixtures("isolated")
def test_killed_and_gone_on_with_is_the_same_and_runs_nothing_twice(tmp_path: Path) -> None:
    write_pool(tmp_path, 16)
    options = ("pool.jsonl", "--problems", "problems.jsonl", "--method", "b4", "--method", "auto", "--out", "o.jsonl")
    process = begin(tmp_path, *options)
    until(lambda: lines(tmp_path / "o.jsonl") >= 6)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    kept = lines(tmp_path / "o.jsonl")
    assert 6 <= kept < 32
    with (tmp_path / "o.jsonl").open("ab") as file:
        file.write(b'{"task_id": "p/')
    assert run(tmp_path, *options)[0] == 0
    whole = (*options[:-1], "whole.jsonl", "--cache", "other")
    assert run(tmp_path, *whole)[0] == 0
    assert read_lines(tmp_path / "o.jsonl") == read_lines(tmp_path / "whole.jsonl")
    assert lines(tmp_path / "o.jsonl") == 32
    # Another method is ranked by what is known already.
    assert run(tmp_path, *options, "--method", "srank")[0] == 0
    assert lines(tmp_path / "o.jsonl") == 48


@pytest.mark.usefixtures("isolated")
def test_ctrl_c_says_how_to_go_on(tmp_path: Path) -> None:
    write_pool(tmp_path, 40)
    process = begin(tmp_path, "pool.jsonl", "--out", "o.jsonl")
    until(lambda: lines(tmp_path / "o.jsonl") >= 3)
    process.send_signal(signal.SIGINT)
    said, complained = process.communicate(timeout=60)
    assert (process.returncode, said) == (130, "")
    assert "to go on: touchstone rank pool.jsonl --out o.jsonl" in complained
    assert "Traceback" not in complained


@pytest.mark.usefixtures("isolated")
def test_a_file_of_another_run_is_refused_by_name(tmp_path: Path) -> None:
    write_pool(tmp_path, 2)
    options = ("pool.jsonl", "--method", "majority", "--out", "o.jsonl")
    assert run(tmp_path, *options)[0] == 0
    before = (tmp_path / "o.jsonl").read_bytes()
    code, _, complained = run(tmp_path, *options, "--test-cpu-s", "2")
    assert (code, complained) == (
        1,
        "touchstone rank: o.jsonl belongs to another run: test_cpu_s: 1.0 there, 2.0 here\n",
    )
    write(tmp_path / "pool.jsonl", row())
    assert "belongs to another run: pool: 'b2:" in run(tmp_path, *options)[2]
    (tmp_path / "o.jsonl.run.json").unlink()
    assert "o.jsonl.run.json is missing" in run(tmp_path, *options)[2]
    assert (tmp_path / "o.jsonl").read_bytes() == before


@pytest.mark.usefixtures("isolated")
def test_the_page_has_its_pictures_and_needs_nothing_else(tmp_path: Path) -> None:
    write_pool(tmp_path, 6)
    options = ("pool.jsonl", "--problems", "problems.jsonl", "--report", "page", "--show", "p/2", "--folds", "2")
    code, said, complained = run(tmp_path, *options)
    assert (code, complained) == (0, "")
    assert "b4 with constants chosen by the other 1 of 2 folds" in said
    page = (tmp_path / "page" / "index.html").read_text()
    for part in ("The methods beside each other", "by how many candidates", "One problem: p/2", "a probability one?"):
        assert part in page
    assert page.count('<svg class="plot"') == 1
    assert page.count('<svg class="matrix"') == 1
    assert page.count('<svg class="square"') == 2
    assert len(re.findall(r'<svg class="bar', page)) == len(ALL) + 2
    assert not re.search(r"<script|https?://|url\(|<link|src=", page)
    assert lines(tmp_path / "page" / "ranking.jsonl") == 6 * len(ALL)


@pytest.mark.usefixtures("isolated")
def test_without_labels_the_page_and_the_table_say_what_they_can(tmp_path: Path) -> None:
    write_pool(tmp_path, 2)
    code, said, _ = run(tmp_path, "pool.jsonl", "--method", "b4", "--method", "majority", "--report", "page")
    assert code == 0
    assert "first as b4's, %" in said
    page = (tmp_path / "page" / "index.html").read_text()
    assert "Without labels" in page
    assert '<svg class="matrix"' in page
    assert '<svg class="plot"' not in page


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("pool.jsonl",), "out: is missing"),
        (("pool.jsonl", "--out", "o", "--method", "best"), "method: 'best' is unknown; known: all, auto, likelihood"),
        (("pool.jsonl", "--out", "o", "--method", "likelihood"), "method: 'likelihood' needs `logprobs` in a line"),
        (("pool.jsonl", "--out", "o", "--method", "examples"), "method: 'examples' needs a prompt that shows examples"),
        (("pool.jsonl", "--out", "o", "--show", "p/0"), "show: is about the page; give --report"),
        (("pool.jsonl", "--report", "d", "--show", "p/9"), "show: there is no problem 'p/9' in pool.jsonl"),
        (("pool.jsonl", "--report", "pool.jsonl"), "report: pool.jsonl is no folder"),
        (("pool.jsonl", "--out", "o", "--verifier", "mine"), "no verifier 'mine'"),
        (("pool.jsonl", "--report", "d", "--method", "best"), "method: 'best' is unknown"),
        (("pool.jsonl", "--out", "o", "--limit", "0"), "limit: must be at least 1"),
        (("pool.jsonl", "--out", "o", "--test-cpu-s", "0"), "test_cpu_s: must be over 0"),
        (("pool.jsonl", "--out", "o", "--folds", "5"), "folds: must be at least 2, and needs the labels"),
        (("pool.jsonl", "--out", "nowhere/o"), "out: nowhere is no folder"),
        (("pool.jsonl", "--out", "o", "--cache", "o"), "cache: cannot be the file of --out"),
        (("pool.jsonl", "--out", "o", "--problems", "none"), "unknown suite 'none'"),
        (("none.jsonl", "--out", "o"), "none.jsonl: no such file"),
    ],
)
@pytest.mark.usefixtures("isolated")
def test_what_cannot_be_honoured_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...], said: str
) -> None:
    write(tmp_path / "pool.jsonl", row())
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(app, list(options))
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("touchstone rank: ")
    assert said in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["pool.jsonl"]


@pytest.mark.usefixtures("isolated")
def test_log_probabilities_and_tests_that_come_with_a_problem_are_evidence(tmp_path: Path) -> None:
    whole = [[-0.5, -0.5], [-1.0], [-0.1] * 4, [-0.2], [-9.0], [-2.0]]
    write(tmp_path / "pool.jsonl", row(logprobs=whole, generated_tests=None))
    write_problems(tmp_path / "problems.jsonl", [replace(PROBLEM, visible_test="assert inc(4) == 5")])
    code, _, complained = run(tmp_path, "pool.jsonl", "--problems", "problems.jsonl", "--out", "o.jsonl")
    assert (code, complained) == (0, "")
    found = read_lines(tmp_path / "o.jsonl")
    assert found["p/0", "likelihood"]["scores"] == pytest.approx([-0.5, -1.0, -0.1, -0.2, -9.0, -2.0])
    assert found["p/0", "likelihood_sum"]["ranking"] == [3, 2, 0, 1, 5, 4]
    assert found["p/0", "tests"]["scores"] == [0.0, 1.0, 0.0, 1.0, 0.0, 1.0]
    assert found["p/0", "auto"]["by"][0] == "tests"
    assert not {method for _, method in found} & {"examples", "b4", "srank"}


@pytest.mark.usefixtures("isolated")
def test_a_line_that_says_otherwise_is_no_line_to_go_on_from(tmp_path: Path) -> None:
    write(tmp_path / "pool.jsonl", row())
    options = ("pool.jsonl", "--method", "majority", "--out", "o.jsonl")
    assert run(tmp_path, *options)[0] == 0
    line = json.loads((tmp_path / "o.jsonl").read_text())
    write(tmp_path / "o.jsonl", line | {"ranking": line["ranking"][::-1]})
    assert "o.jsonl ranks p/0 by 'majority' otherwise than this run does" in run(tmp_path, *options)[2]
    write(tmp_path / "o.jsonl", {"task_id": "p/0"})
    assert "o.jsonl:1: method: is missing" in run(tmp_path, *options)[2]


@pytest.mark.usefixtures("isolated")
def test_a_verifier_ranks_as_methods_of_its_own(tmp_path: Path) -> None:
    write_pool(tmp_path, 2)
    options = ("pool.jsonl", "--problems", "problems.jsonl", "--out", "o.jsonl", "--method", "verifier")
    code, _, complained = run(tmp_path, *options)
    assert (code, "--verifier" in complained) == (1, True)
    code, _, complained = run(tmp_path, *options, "--verifier", "mine")
    assert (code, "touchstone-verifier" in complained) == (1, True)
    with_it = (*options, "--method", "features", "--method", "auto", "--verifier", "touchstone-verifier")
    code, _, complained = run(tmp_path, *with_it)
    assert (code, complained) == (0, "")
    found = read_lines(tmp_path / "o.jsonl")
    assert {method for _, method in found} == {"verifier", "features", "auto"}
    assert found["p/0", "auto"]["by"] == ["examples", "srank", "features", "majority"]
    assert all(score is not None for score in found["p/0", "verifier"]["scores"])
    # Another verifier, or none, would mix two kinds of line in one file.
    code, _, complained = run(tmp_path, "pool.jsonl", "--problems", "problems.jsonl", "--out", "o.jsonl")
    assert (code, "verifier" in complained) == (1, True)


@pytest.mark.usefixtures("isolated")
def test_a_discriminator_is_no_verifier(tmp_path: Path) -> None:
    write_pool(tmp_path, 2)
    folder = make_discriminator(tmp_path / "quick")
    options = ("pool.jsonl", "--problems", "problems.jsonl", "--out", "o.jsonl", "--method", "discriminator")
    code, _, complained = run(tmp_path, *options)
    assert (code, "trained with --no-execution; give its folder" in complained) == (1, True)
    code, _, complained = run(tmp_path, *options[:-1], "verifier", "--verifier", str(folder))
    assert (code, "reads execution results" in complained) == (1, True)
    code, _, complained = run(tmp_path, *options, "--verifier", str(folder))
    assert (code, complained) == (0, "")
    found = read_lines(tmp_path / "o.jsonl")
    assert {method for _, method in found} == {"discriminator"}
    assert all(score is not None for score in found["p/0", "discriminator"]["scores"])
    with pytest.raises(InvalidVerifier, match="quick: trained without execution results; it is a discriminator"):
        Loaded().add_verifier(folder)
