"""`touchstone bench table`: rows, what is told of them, and one run on the bundled model."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from bench.cli import app
from bench.errors import InvalidOption
from bench.table.keep import keep_table
from bench.table.page import render
from bench.table.processes import Workers
from bench.table.result import Line, Memory, Quality, Speed, Table, table_data
from bench.table.rows import Row, parse_rows, store_of, subject_of
from bench.table.show import cells, facts
from bench.table.work import Asked, make_table
from engine import EngineConfig, choose_engine, missing_libraries
from reranker.evaluation import Estimate, Host

ROOT = Path(__file__).resolve().parents[2]
HOST = Host(cpu="a CPU", cores=2, system="Linux", python="3.11", touchstone="0")
MEMORY = Memory(1_000_000_000, 1_100_000_000, 1_500_000_000, 1_600_000_000, None)
HALF = Estimate(0.5, 0.4, 0.6)


def table_of(*lines: Line, notes: tuple[str, ...] = ()) -> Table:
    return Table(
        created_at="2026-11-29T12:00:00+00:00",
        model="a <model>",
        host=HOST,
        memory_bytes=8 * 10**9,
        gpus=(),
        suite="bundled sha256:0",
        reference="transformers float32",
        in_turns=True,
        settings={"rounds": 3, "tokens": 8, "threads": 2},
        notes=notes,
        lines=lines,
    )


MEASURED = Line(
    engine="ctranslate2",
    dtype="int8",
    effective="int8_float32",
    versions={"python": "3.11"},
    weights_bytes=4_000_000,
    memory=MEMORY,
    speeds=(Speed(1, 4.0, 1.0, (4.0,)), Speed(16, 0.5, 1.25, (0.5,))),
    quality=Quality(50, HALF, Estimate(0.25, 0.2, 0.3), 8, {"greedy": Estimate(-0.02, -0.05, 0.01)}),
)
REFUSED = Line(engine="transformers", dtype="float16", versions={}, failed="this CPU cannot")


def test_a_row_names_an_engine_and_a_type_or_all_types_of_an_engine() -> None:
    assert parse_rows(["ctranslate2:int8", "ctranslate2:int8"]) == (Row("ctranslate2", "int8"),)
    assert parse_rows(["transformers"]) == tuple(Row("transformers", t) for t in ("float32", "bfloat16", "float16"))
    assert {row.engine for row in parse_rows([])} >= {"ctranslate2", "transformers"}


@pytest.mark.parametrize(
    ("text", "named"),
    [("tensorrt:int8", "'tensorrt'"), ("ctranslate2:int7", "'int7'"), ("openai", "holds no model"), ("", "''")],
)
def test_an_unknown_engine_or_type_is_refused_by_name(text: str, named: str) -> None:
    with pytest.raises(InvalidOption, match=f"row: .*{named}"):
        parse_rows([text])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"rounds": -1}, "rounds: must be at least 0, not -1"),
        ({"threads": 0}, "threads: must be at least 1, not 0"),
        ({"device": "tpu"}, "device: 'tpu' is none of auto, cpu, cuda"),
        ({"pythons": {"vllm": sys.executable}}, "python: 'vllm' is in no row of this table"),
        ({"pythons": {"ctranslate2": "/nowhere/python"}}, "python: /nowhere/python: no such file"),
    ],
)
def test_a_setting_that_cannot_be_used_is_refused_by_name(given: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidOption) as raised:
        Asked(rows=parse_rows(["ctranslate2:int8"]), **given).check()
    assert str(raised.value) == message


def test_every_engine_finds_what_it_loads_and_how_much_it_is(tmp_path: Path) -> None:
    subject = subject_of("touchstone-3.8m", tmp_path / "state", tmp_path)
    int8, floats = Row("ctranslate2", "int8"), Row("transformers", "float32")
    assert (subject.loads(int8) / "model.bin").stat().st_size == subject.weights_bytes(int8)
    assert subject.loads(floats) == subject.hf
    assert subject.needs_bytes(floats) == 2 * (subject.weights_bytes(floats) or 0)  # they are stored in 16 bits
    assert not subject.loads(Row("ctranslate2", "float32")).exists()
    assert subject.given is not None
    assert subject.loads(Row("ctranslate2", "auto")) == subject.given


def test_a_folder_without_weights_as_published_is_refused(tmp_path: Path) -> None:
    (tmp_path / "conversion").mkdir()
    with pytest.raises(InvalidOption, match=r"model: .* has no config\.json"):
        subject_of(str(tmp_path / "conversion"), None, tmp_path)


def test_a_table_tells_its_figures_and_why_some_are_missing() -> None:
    assert cells(MEASURED) == (
        "0.004", "1.00", "1.50", "", "4", "250 (1.00)", "2000 (1.25)", "50.0 [40, 60]", "25.0 [20, 30]"
    )  # fmt: skip
    told = facts(table_of(MEASURED, REFUSED, notes=("GPU memory: nvidia-ml-py is not installed",)))
    assert "not run: transformers float16: this CPU cannot" in told
    assert "ctranslate2 int8 minus transformers float32, points, paired: greedy -2.0 [-5.0, +1.0]" in told
    assert "GPU memory: nvidia-ml-py is not installed" in told


def test_a_tables_json_has_a_version_and_every_row() -> None:
    data = json.loads(json.dumps(table_data(table_of(MEASURED, REFUSED))))
    assert (data["kind"], data["schema_version"], data["host"]["cpu"]) == ("touchstone table", 1, "a CPU")
    assert [speed["tokens_per_s"] for speed in data["lines"][0]["speeds"]] == [250.0, 2000.0]
    assert data["lines"][1]["failed"] == "this CPU cannot"


def test_a_tables_page_has_plots_and_escapes_what_it_is_given() -> None:
    page = render(table_of(MEASURED, REFUSED, notes=("<script>alert(1)</script>",)))
    assert page.count("<svg") == 4
    assert "a &lt;model&gt;" in page
    assert "<script" not in page
    assert "transformers float16: this CPU cannot" in page


def test_an_engine_of_another_environment_is_run_by_its_interpreter_with_our_packages_alone(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\necho "$PYTHONPATH" > {tmp_path}/path\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    row = Row("ctranslate2", "int8")
    subject = subject_of("touchstone-3.8m", tmp_path / "state", tmp_path)
    with Workers(subject, tmp_path, {"ctranslate2": str(python)}, "cpu", 1).holding(row) as (worker, told):
        assert told["dtype"].startswith("int8")
        assert worker.ms_per_token("def f():\n", 2, 3) > 0
    assert {path.name for path in Path((tmp_path / "path").read_text().strip()).iterdir()} == {
        "bench",
        "engine",
        "reranker",
        "sandbox",
    }


def test_a_row_whose_process_dies_keeps_its_place_and_its_last_words(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho 'Illegal instruction' >&2\nexit 132\n")
    python.chmod(0o755)
    asked = Asked(rows=parse_rows(["ctranslate2:int8"]), pythons={"ctranslate2": str(python)})
    [line] = make_table(asked, subject_of("touchstone-3.8m", tmp_path / "state", tmp_path), tmp_path).lines
    assert line.failed == "its process ended with status 132: Illegal instruction"
    assert line.memory is None
    assert line.quality is None


def test_a_table_of_the_bundled_model(tmp_path: Path) -> None:
    rows = ("--row", "ctranslate2:int8", "--row", "ctranslate2:float16")
    little = ("--limit", "2", "--n", "1", "--rounds", "2", "--tokens", "4", "--device", "cpu")
    files = ("--json", "t.json", "--html", "t.html")
    command = [sys.executable, str(ROOT / "touchstone.py"), "bench", "table", *rows, *little, *files]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert (tmp_path / "t.html").read_text().startswith("<!doctype html>")
    assert "not run: ctranslate2 float16: CTranslate2 computes on this cpu in" in run.stdout
    done, refused = json.loads((tmp_path / "t.json").read_text())["lines"]
    assert done["memory"]["used_pss_bytes"] >= done["memory"]["loaded_pss_bytes"] > 10_000_000
    assert [(speed["n"], len(speed["rounds"]), speed["times_fastest"]) for speed in done["speeds"]] == [
        (1, 2, 1.0),
        (16, 2, 1.0),
    ]
    assert done["quality"]["problems"] == 2
    assert done["failed"] is None
    assert refused["memory"] is None
    assert "pass@1: ctranslate2 int8, " in run.stderr


def test_what_tells_the_fastest_engine_is_kept_for_the_server(tmp_path: Path) -> None:
    store = store_of(tmp_path / "state")
    subject = subject_of(None, tmp_path / "state", tmp_path)
    asked = Asked(rows=parse_rows(["auto"]), threads=2, device="cpu")
    assert Row("ctranslate2", "auto") in asked.rows
    auto = replace(MEASURED, dtype="auto")
    other = replace(auto, engine="cpu", speeds=(Speed(1, 8.0, 2.0, (8.0,)), Speed(16, 0.2, 1.0, (0.2,))))
    assert keep_table(table_of(auto, MEASURED, REFUSED), subject, asked, store.calibrations) is None, (
        "one engine a type"
    )
    kept = keep_table(table_of(auto, other, MEASURED, REFUSED), subject, asked, store.calibrations)
    assert kept is not None
    assert {(each["engine"], each["dtype"]) for each in json.loads(kept.read_text())["timings"]} == {
        ("ctranslate2", "auto"),
        ("cpu", "auto"),
    }
    config = EngineConfig(type="auto", threads=2, device="cpu")
    if not missing_libraries("cpu"):
        assert choose_engine(config, store, n=16).config.type == "cpu"
    assert choose_engine(config, store, n=1).config.type == "ctranslate2"


def test_a_mistake_ends_with_one_line() -> None:
    for arguments, message in (
        (("--row", "nothing:int8"), "row: 'nothing:int8': no engine is called 'nothing'"),
        (("--random", "cube"), "random: no shape is called 'cube'; there are llama-200m, starcoder-15b"),
        (("--random", "llama-200m", "--model", "m"), "random: makes the model; --model cannot stand beside it"),
        (("--python", "vllm"), "python: 'vllm' is not ENGINE=PATH"),
        (("--suite", "none"), "suite: unknown suite 'none'"),
        (("--json", "no/where.json"), "json: no is no folder"),
    ):
        run = CliRunner().invoke(app, ["table", *arguments])
        assert run.exit_code == 1
        assert run.stderr.startswith(f"touchstone bench table: {message}")
        assert run.stderr.count("\n") == 1
