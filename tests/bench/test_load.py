"""`touchstone bench load`: the plan, the counting, and a short load on a real server."""

import itertools
import json
import random
import statistics
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bench.cli import app
from bench.load.client import Answer, End
from bench.load.result import classes_of, in_buckets, percentiles
from bench.load.show import cells
from bench.load.traffic import CHAT, DEBOUNCE_S, KEY_MEAN_S, TYPING, Mix, keys, plan, poisson
from bench.process import serving
from reranker.evaluation import load_suite

MIX = Mix(
    seconds=30, typists=2, chats_per_s=0.5, best_per_s=0.5, candidates=4, fim=True, reranks=False, seed=1
)  # fmt: skip
GAPS, TASKS = load_suite("bundled-fim").problems, load_suite("bundled").problems


def test_arrivals_keep_their_rate_and_keys_their_time() -> None:
    rng = random.Random(0)
    assert 900 < len(list(poisson(10.0, 100.0, rng))) < 1100
    assert list(poisson(0.0, 100.0, rng)) == []
    times = list(keys(2000.0, rng))
    gaps = [after - before for before, after in itertools.pairwise(times)]
    assert 0.9 * KEY_MEAN_S < statistics.mean(gap for gap in gaps if gap < 1) < 1.1 * KEY_MEAN_S


def test_a_plan_repeats_and_each_key_stops_the_request_before() -> None:
    shots = plan(MIX, "m", GAPS, TASKS)
    assert shots == plan(MIX, "m", GAPS, TASKS)
    assert list(shots) == sorted(shots, key=lambda shot: shot.at_s)
    typed = [shot for shot in shots if shot.kind == TYPING]
    assert all(shot.stop_s is None or shot.stop_s > shot.at_s for shot in typed)
    assert sum(shot.stop_s is None for shot in typed) == MIX.typists  # nobody types after the last key
    first = typed[0].body
    assert first["stream"]
    assert "suffix" in first
    ends = sorted(shot.stop_s for shot in typed if shot.stop_s is not None)
    assert ends[0] - typed[0].at_s > -DEBOUNCE_S
    assert {shot.path for shot in shots} == {"/completions", "/chat/completions"}


def test_what_clients_were_answered_is_counted_by_class() -> None:
    answers = [
        Answer(CHAT, 0.5, End.ANSWERED, 0.0, 0.1, 1.0, 10),
        Answer(CHAT, 1.5, End.ANSWERED, 0.0, 0.3, 3.0, 10),  # when nothing more was sent
        Answer(CHAT, 1.6, End.REFUSED, 0.0, why="429 busy"),
        Answer(TYPING, 0.1, End.CANCELLED, 0.0, None),
    ]
    typing, chat = classes_of(answers, 2.0)
    assert (chat.asked_per_s, chat.answered_per_s, chat.ms_per_token, chat.tokens) == (1.5, 0.5, 200.0, 20)
    assert chat.ends == {"answered": 2, "refused": 1}
    assert chat.why == {"429 busy": 1}
    assert cells(chat) == ("1.50", "0.50", "200 / 290 / 298", "2000 / 2900 / 2980", "200", "0", "1", "0", "0")
    assert cells(typing)[2:5] == ("none", "none", "")
    assert percentiles([2.0]) == {"p50": 2.0, "p95": 2.0, "p99": 2.0}


def test_percentiles_of_a_histogram_are_interpolated() -> None:
    found = in_buckets({0.01: 50.0, 0.1: 90.0, float("inf"): 100.0})
    assert found.count == 100
    assert found.s == pytest.approx({"p50": 0.01, "p95": 0.1, "p99": 0.1})
    assert in_buckets({0.01: 0.0, float("inf"): 0.0}).s == {}


def run(*arguments: str) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, ["load", *arguments])
    return done.exit_code, done.stdout, done.stderr


def test_a_short_load_on_a_real_server(tmp_path: Path) -> None:
    target = tmp_path / "load.json"
    with serving(tmp_path / "state", "--dtype", "int8") as served:
        rates = ("--seconds", "2", "--typists", "2", "--chats", "1", "--best-of", "1", "--candidates", "2")
        code, told, errors = run("--url", f"{served.url}/v1", *rates, "--json", str(target))
    assert code == 0, errors
    data = json.loads(target.read_text())
    assert (data["kind"], data["schema_version"], data["settings"]["reranks"]) == ("touchstone load", 1, True)
    classes = {each["name"]: each for each in data["classes"]}
    assert list(classes) == ["typing", "chat", "best of n"]
    assert not any("failed" in each["ends"] for each in classes.values()), classes
    assert classes["chat"]["first_s"]["p50"] <= classes["chat"]["whole_s"]["p50"]
    assert data["cancels"]["count"] >= classes["typing"]["ends"].get("cancelled", 0) / 2
    assert "from a cancel to the end of its work, ms:" in told
    assert "load: " in errors


def test_a_mistake_ends_with_one_line() -> None:
    nowhere = ("--url", "http://127.0.0.1:9/v1")
    for arguments, message in (
        ((*nowhere, "--seconds", "0"), "seconds: must be over 0"),
        ((*nowhere, "--candidates", "0"), "candidates: must be at least 1, not 0"),
        ((*nowhere, "--typists", "0", "--chats", "0", "--best-of", "0"), "typists: nothing would be sent"),
        (nowhere, "url: http://127.0.0.1:9/v1/models does not answer as OpenAI's API"),
    ):
        code, _, errors = run(*arguments)
        assert code == 1
        assert errors.startswith(f"touchstone bench load: {message}")
        assert errors.count("\n") == 1
