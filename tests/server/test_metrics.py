"""Metrics beyond the counts of `test_pages.py`: the loop's, a verifier's scores, gaps, overhead, memory, the page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar, Literal

import httpx
import pytest

from engine import ModelStore, Scripted, ScriptedEngine
from reranker import Candidate, Loaded, Score, Task
from server import create_app, metrics_page
from server.app import app_of
from server.config import Config
from server.metrics import Metrics
from server.service import Service

from .conftest import Serve, Setup
from .fleet import add_round, id_of
from .test_pages import scrape
from .test_rerank import TESTS
from .test_streaming import Breaks

NAMED = """
ready errors_total host_memory_limit_bytes training_round_created_timestamp_seconds
request_duration_seconds time_to_first_token_seconds time_per_output_token_seconds inter_token_latency_seconds
queue_time_seconds prefill_time_seconds decode_time_seconds gateway_overhead_seconds prompt_tokens_total
generation_tokens_total requests_running requests_waiting batch_size cancelled_total cancel_latency_seconds
gpu_memory_bytes host_memory_bytes model_info rerank_requests_total rerank_duration_seconds rerank_candidates
rerank_gain_total sandbox_runs_total sandbox_duration_seconds sandbox_slots verifier_score feedback_total
suggestions_shown_total suggestions_accepted_total training_round_info round_eval_pass_at_1 promotions_total
"""
"""The names that dashboards are built on: none goes without notice."""


def test_every_name_that_dashboards_are_built_on_is_there() -> None:
    names = {meter.full_name for meter in Metrics().meters}
    assert {f"touchstone_{name}" for name in NAMED.split()} <= names


def test_the_page_of_metrics_is_current() -> None:
    assert metrics_page.PAGE.read_text() == metrics_page.page() + "\n", "run: make docs"


async def test_what_is_scraped_is_on_the_page(serve: Serve) -> None:
    async with serve() as server:
        await server.complete("def one():\n", rerank={"tests": TESTS})
        text = (await server.client.get("/metrics")).text
    listed = {meter.full_name for meter in Metrics().meters}
    assert {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")} <= listed | {
        f"{name.removesuffix('_total')}_created" for name in listed
    }


async def test_a_plain_replys_overhead_is_what_its_ranking_did_not_take(serve: Serve) -> None:
    slow = ScriptedEngine({"wait": [Scripted("xy", delay_s=0.1)]})
    async with serve(engine=slow) as server:
        await server.complete("wait", rerank={"method": "off"})
        await server.complete("wait", stream=True)
        await server.complete(n=0)
        families = await scrape(server)
    assert families["touchstone_gateway_overhead_seconds_count", ""] == 1  # neither the stream nor the refusal
    assert families["touchstone_gateway_overhead_seconds_sum", ""] < 0.15
    assert families["touchstone_request_duration_seconds_sum", "/v1/completions,200"] > 0.4


async def test_gaps_between_tokens_are_timed(serve: Serve) -> None:
    slow = ScriptedEngine({"wait": [Scripted("xyz", delay_s=0.02)]})
    async with serve(engine=slow) as server:
        await server.complete("wait", rerank={"method": "off"})
        families = await scrape(server)
    assert families["touchstone_inter_token_latency_seconds_count", ""] == 2
    assert 0.03 < families["touchstone_inter_token_latency_seconds_sum", ""] < 1


async def test_errors_that_are_not_their_requests_fault_are_counted_by_code(serve: Serve) -> None:
    async with serve(limits={"requests_per_minute": 1}) as server:
        assert (await server.complete(n=0)).status_code == 400
        assert (await server.complete()).status_code == 429
        families = await scrape(server)
    assert families["touchstone_errors_total", "rate_limit_exceeded,429"] == 1
    assert sum(value for (name, _), value in families.items() if name == "touchstone_errors_total") == 1


async def test_an_error_within_a_stream_counts_although_its_status_was_200(serve: Serve) -> None:
    async with serve(engine=Breaks({"hello": [Scripted("xy", delay_s=0.05)]})) as server:
        assert (await server.complete(stream=True)).status_code == 200
        families = await scrape(server)
    assert families["touchstone_errors_total", "engine_failed,500"] == 1


async def test_ready_is_what_the_route_says(serve: Serve) -> None:
    async with serve() as server:
        assert (await scrape(server))["touchstone_ready", ""] == 1
        service = Service(Config(state_dir=server.parts.config.state_dir))
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app_of(service)), base_url="http://localhost"
        ) as client:
            assert (await client.get("/ready")).status_code == 503
            assert (await scrape(Setup(client, server.parts)))["touchstone_ready", ""] == 0


async def test_the_memory_a_server_may_have_is_more_than_it_uses(serve: Serve) -> None:
    async with serve() as server:
        families = await scrape(server)
    used = families["touchstone_host_memory_bytes", "resident,server"]
    assert families["touchstone_host_memory_limit_bytes", ""] > used


class Optimist:
    """Gives every candidate the same probability."""

    needs: ClassVar[frozenset[Literal["suite", "tests", "inputs"]]] = frozenset()

    async def score(self, task: Task, candidates: Sequence[Candidate]) -> list[Score]:
        return [Score(math.log(0.75)) for _ in candidates]


async def test_a_learned_scorers_probabilities_are_told_by_what_passed(serve: Serve) -> None:
    async with serve() as setup:
        loaded = Loaded({"verifier": Optimist()})
        transport = httpx.ASGITransport(create_app(replace(setup.parts, loaded=loaded)))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            rerank = {"tests": TESTS, "early_exit": "off", "num_candidates": 3, "verifier": "default"}
            body = {"prompt": "def one():\n", "rerank": rerank}
            assert (await client.post("/v1/completions", json=body)).status_code == 200
            families = await scrape(Setup(client, setup.parts))
    name = "touchstone_verifier_score"
    assert families[f"{name}_count", "pass,verifier"] + families[f"{name}_count", "fail,verifier"] == 3
    assert families[f"{name}_sum", "pass,verifier"] == pytest.approx(0.75 * families[f"{name}_count", "pass,verifier"])


def test_the_loops_metrics_are_those_of_the_store(tmp_path: Path) -> None:
    store, metrics = ModelStore(tmp_path), Metrics()
    assert b"touchstone_promotions_total{" not in metrics.scrape()
    metrics.loop.store = store
    assert 'touchstone_training_round_info{model="touchstone-3.8m"' in metrics.scrape().decode()
    of = [{"measure": "greedy", "k": 1, "value": 0.7}, {"measure": "random", "k": 1, "value": 0.625}]
    add_round(store, 0)
    one = add_round(store, 1, evaluation={"suites": [{"suite": "mine", "of": of}]})
    store.set_champion(store.champion_id(), one)
    refused = add_round(store, 2)  # it was challenger, and lost its contest
    store.refuse(refused, round=2, reason="no better")
    store.refuse("three", round=3, reason="no better")
    text = metrics.scrape(names=[f"touchstone_{name}" for name in NAMED.split()]).decode()
    assert 'touchstone_promotions_total{decision="promoted"} 1.0' in text
    assert 'touchstone_promotions_total{decision="refused"} 2.0' in text
    assert f'touchstone_training_round_info{{model="{one}",parent="{id_of(0)}",round="1"}} 1.0' in text
    assert 'touchstone_round_eval_pass_at_1{round="1",suite="mine"} 0.625' in text


def test_a_store_that_cannot_be_read_does_not_end_the_scrape(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store, metrics = ModelStore(tmp_path), Metrics()
    store.set_champion(store.champion_id(), add_round(store, 0))
    next(tmp_path.rglob("champion.json")).write_text("{")
    metrics.loop.store = store
    assert b"touchstone_host_memory_bytes" in metrics.scrape()
    assert "champion.json" in caplog.text
