"""The log as other programs read it, and an export read back into another store."""

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import make_url
from typer.testing import CliRunner

from feedback import Exchange, Signal, SqlStore, to_line
from feedback.cli import app
from feedback.preferences import preferences, unpaired, why_not
from tests.feedback.records import candidate, exchange, signal

Logged = tuple[Exchange, tuple[Signal, ...]]


def run(*words: str) -> str:
    result = CliRunner().invoke(app, list(words))
    assert result.exit_code == 0, result.output
    return " ".join(result.output.split())


def some() -> list[Logged]:
    """Three exchanges of traffic: judged, spoken of, a chat; and what must be left out."""
    good, bad = candidate(0, choice=0), candidate(1, ok=False)
    judged = replace(exchange(1), candidates=(good, bad, replace(candidate(2), text=good.text)))
    nobody = replace(candidate(0, choice=0), program_class=None, text="old\0")
    spoken = replace(exchange(2), candidates=(nobody, replace(nobody, index=1, rank=1, choice=1, text="two")))
    messages = [{"role": "user", "content": "add"}]
    chat = replace(judged, id="chat", prompt={"kind": "chat", "messages": messages}, task={"shape": "chat"})
    secret = replace(exchange(5), options={"may_train": False})
    gap = replace(exchange(6), prompt={"kind": "fim", "prefix": "a", "suffix": "b"})
    silent = replace(exchange(7), candidates=(nobody,))
    said = (signal(spoken, "edit", "new"), signal(spoken, "accept", choice=1))
    left = [(each, ()) for each in (secret, gap, silent, exchange(8, purpose="eval"))]
    return [(judged, ()), (spoken, said), (chat, (signal(chat, "accept"), signal(chat, "reject"))), *left]


async def write(url: str | Path, logged: list[Logged]) -> None:
    store = SqlStore.open(url)
    for each, said in logged:
        await store.record(each)
        await store.signals(said)
    await store.aclose()


async def read(url: str | Path) -> list[str]:
    store = SqlStore.open(url)
    lines = [line async for line in store.lines()]
    await store.aclose()
    return lines


def test_pairs_and_single_answers() -> None:
    (judged, _), (spoken, said), (chat, words) = some()[:3]
    good, bad = "    return 0\n", "    return 1\n"
    assert list(preferences(judged, ())) == [{"prompt": "def f1():\n", "chosen": good, "rejected": bad}]
    assert [(each["completion"], each["label"]) for each in unpaired(judged, ())] == [(good, True), (bad, False)]
    assert list(preferences(spoken, said)) == [{"prompt": "def f2():\n", "chosen": "new", "rejected": "old\0"}]
    assert [(each["completion"], each["label"]) for each in unpaired(spoken, said)] == [
        ("new", True),
        ("old\0", False),
        ("two", True),
    ]
    [pair] = list(preferences(chat, words))[:1]
    assert pair["prompt"] == [{"role": "user", "content": "add"}]
    assert [pair[name][0]["role"] for name in ("chosen", "rejected")] == ["assistant", "assistant"]
    assert pair["chosen"][0]["content"] != chat.candidates[0].raw_text, "the user's last word is against it"
    taken_back = (signal(judged, "reject"), signal(judged, "reject", False))
    assert next(unpaired(judged, taken_back))["label"] is True
    unchanged = (signal(spoken, "reject"), signal(spoken, "edit", "old\0 "))
    assert [(each["completion"], each["label"]) for each in unpaired(spoken, unchanged)] == [("old\0", True)]


def test_what_may_not_be_trained_on_is_left_out_with_the_reason() -> None:
    reasons = [why_not(each) for each, _ in some()]
    assert reasons[:3] == [None] * 3
    assert reasons[3] == "its key may not train"
    assert "kind 'fim'" in str(reasons[4])
    hidden = replace(exchange(1), options={"redacted": {"prompt": True, "suite": False, "candidates": []}})
    assert "secret" in str(why_not(hidden))
    assert why_not(replace(exchange(1), prompt={"kind": "text", "no_text": True})) == "its text was not kept"


def test_datasets_reads_them_as_trl_wants_them(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets", reason="datasets is not installed (the extra `datasets`)")
    logged = [each for each in some() if each[0].prompt["kind"] != "chat"]
    asyncio.run(write(tmp_path / "touchstone.db", logged))
    for form, columns, rows in (("preference", ("prompt", "chosen", "rejected"), 2), ("unpaired", None, 5)):
        out = tmp_path / f"{form}.jsonl"
        told = run("export", "--format", form, "--out", str(out), "--state-dir", str(tmp_path))
        assert told.startswith(f"{rows} records")
        assert "1 exchanges left out: its key may not train" in told
        found = datasets.Dataset.from_json(str(out), cache_dir=str(tmp_path / "cache"))
        assert tuple(found.column_names) == (columns or ("prompt", "completion", "label"))
        assert len(found) == rows
        if form == "unpaired":
            assert found.features["label"].dtype == "bool"


def test_a_table_of_everything(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed (the extra `datasets`)")
    logged = some()
    asyncio.run(write(tmp_path / "touchstone.db", logged))
    out = tmp_path / "log.parquet"
    assert run("export", "--format", "parquet", "--out", str(out), "--state-dir", str(tmp_path)).startswith("7 exch")
    rows: list[dict[str, Any]] = parquet.read_table(out).to_pylist()
    asked, said = logged[1]
    row = next(each for each in rows if each["id"] == asked.id)
    assert row["created_at"] == asked.created_at
    assert json.loads(row["prompt"]) == asked.prompt
    assert [each["rank"] for each in row["candidates"]] == [0, 1]
    assert json.loads(row["candidates"][0]["scores"]) == asked.candidates[0].scores
    assert row["candidates"][0]["tests"]["passed"] == 1
    assert [json.loads(each["value"]) if each["value"] else None for each in row["signals"]] == [
        one.value for one in said
    ]
    result = CliRunner().invoke(app, ["export", "--format", "parquet", "--out", "a.gz", "--state-dir", str(tmp_path)])
    assert result.exit_code == 2


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def two(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, str]:
    """Two databases."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'a.db'}", f"sqlite:///{tmp_path / 'b.db'}"
    cluster = request.getfixturevalue("cluster")
    return cluster.new_database(), cluster.new_database()


@pytest.mark.parametrize("name", ["log.jsonl", "log.jsonl.gz"])
def test_there_and_back(two: tuple[str, str], tmp_path: Path, name: str) -> None:
    first, second = two
    asyncio.run(write(first, some()))
    out = str(tmp_path / name)
    run("export", "--out", out, "--database", first)
    told = run("import", out, "--database", second)
    where = make_url(second).render_as_string()
    assert told == f"7 exchanges and 4 signals added to {where} 0 exchanges and 0 signals were there already"
    assert asyncio.run(read(second)) == asyncio.run(read(first))
    told = run("import", out, "--database", second)
    assert told == f"0 exchanges and 0 signals added to {where} 7 exchanges and 4 signals were there already"
    assert asyncio.run(read(second)) == asyncio.run(read(first))


def test_an_import_redacts_and_names_a_bad_line(tmp_path: Path) -> None:
    asked = exchange(1)
    asked = replace(asked, prompt={"kind": "text", "text": "AKIAIOSFODNN7EXAMPLE"})
    out = tmp_path / "log.jsonl"
    out.write_text(to_line(asked, (signal(asked, "comment", "AKIAIOSFODNN7EXAMPLE"),)) + "\n")
    run("import", str(out), "--state-dir", str(tmp_path))
    [line] = asyncio.run(read(tmp_path / "touchstone.db"))
    assert "AKIA" not in line
    run("import", str(out), "--no-redact", "--database", f"sqlite:///{tmp_path / 'other.db'}")
    assert asyncio.run(read(tmp_path / "other.db"))[0].count("AKIA") == 2
    out.write_text(out.read_text() + "{}\n")
    result = CliRunner().invoke(app, ["import", str(out), "--state-dir", str(tmp_path)])
    assert result.exit_code == 1
    assert "line 2" in result.output
