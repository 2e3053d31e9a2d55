"""`/v1/models`, `/health`, `/ready`, `/version`, `/metrics`."""

import re
from pathlib import Path

import httpx
from prometheus_client.parser import text_string_to_metric_families

from sandbox import LaunchFailed, PoolStats, SandboxBusy, SandboxError, SandboxUnavailable, ScriptedSandbox
from server.app import app_of
from server.config import Config
from server.service import Service

from .conftest import Serve, Setup, judge
from .test_rerank import TESTS


async def test_models_lists_every_usable_name_the_plain_one_first(server: Setup) -> None:
    data = (await server.client.get("/v1/models")).json()["data"]
    names = [entry["id"] for entry in data]
    assert names[0] == "scripted:1m-none.r2"
    assert {f"{names[0]}+{end}" for end in ("off", "auto", "likelihood8", "examples8")} <= set(names)
    assert data[0]["round"] == 2
    assert {"engine", "effective_dtype", "weights", "context_length", "fim", "max_logprobs"} <= set(data[0])
    for name in names:
        entry = (await server.client.get(f"/v1/models/{name}")).json()
        assert (entry["id"], entry["object"]) == (name, "model")
        assert (await server.complete(model=name, rerank={"tests": TESTS, "method": "auto"})).status_code == 200
    assert (await server.client.get("/v1/models/other")).status_code == 404


async def test_methods_that_need_isolation_are_not_listed_without_it(serve: Serve) -> None:
    async with serve(isolated=False) as server:
        names = [entry["id"] for entry in (await server.client.get("/v1/models")).json()["data"]]
        assert not any("tests" in name for name in names)
        ready = await server.client.get("/ready")
        assert ready.status_code == 200
        assert ready.json()["isolation"] == {"tier": None, "reasons": ["no namespaces"], "how_to_fix": []}


async def test_ready_names_the_tier(server: Setup) -> None:
    reply = await server.client.get("/ready")
    isolation = {"tier": "scripted", "stronger_refused": [], "how_to_fix": []}
    assert (reply.status_code, reply.json()["isolation"]) == (200, isolation)
    assert (await server.client.get("/health")).json() == {"status": "ok"}
    assert set((await server.client.get("/version")).json()) == {"version", "config_hash"}


async def test_while_loading_health_is_200_and_the_rest_503(tmp_path: Path) -> None:
    app = app_of(Service(Config(state_dir=tmp_path)))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:
        health = await client.get("/health")
        assert (health.status_code, health.json()) == (200, {"status": "loading"})
        for path in ("/ready", "/v1/models"):
            reply = await client.get(path)
            assert reply.status_code == 503
            assert int(reply.headers["retry-after"]) >= 1
        reply = await client.post("/v1/completions", json={"prompt": "x"})
        assert (reply.status_code, reply.json()["error"]["code"]) == (503, "loading")
        assert (await client.get("/metrics")).status_code == 200


async def test_metrics_count_what_happened(server: Setup) -> None:
    body = (await server.complete("def one():\n", rerank={"tests": TESTS, "early_exit": "off"})).json()
    await server.complete(["hello", "bye"], rerank={"method": "off"}, n=2)
    await server.complete("hello", stream=True)
    await server.complete(n=0)
    await server.client.get("/not/a/route/of/ours")
    await server.post("/v1/feedback", id=body["id"], type="accept")
    families = await scrape(server)
    assert families["touchstone_feedback_total", "anonymous,accept"] == 1
    assert families["touchstone_rerank_requests_total", "tests,complete"] == 1
    assert families["touchstone_rerank_requests_total", "off,off"] == 3
    assert families["touchstone_rerank_gain_total", "rescued"] == 1
    assert families["touchstone_sandbox_runs_total", "passed,scripted"] >= 1
    assert families["touchstone_sandbox_info", "scripted"] == 1
    assert families["touchstone_request_duration_seconds_count", "/v1/completions,400"] == 1
    assert families["touchstone_request_duration_seconds_count", "other,404"] == 1
    assert families["touchstone_time_to_first_token_seconds_count", ""] == 4
    assert families["touchstone_prompt_tokens_total", ""] == len("def one():\n") + 5 + 3 + 5
    assert families["touchstone_generation_tokens_total", "discarded"] > 0
    assert families["touchstone_requests_running", ""] == 0
    assert families["touchstone_model_info", "none,scripted,scripted:1m-none.r2,champion,2"] == 1
    assert families["touchstone_host_memory_bytes", "resident,server"] > 10**6


async def test_metrics_tell_a_sandbox_that_fails_from_one_that_is_not_there(serve: Serve) -> None:
    words: dict[SandboxError, str] = {
        LaunchFailed("no room"): "sandbox_error",
        SandboxBusy("full"): "sandbox_busy",
        SandboxUnavailable(("gone",)): "sandbox_unavailable",
    }
    for error, word in words.items():
        async with serve(sandbox=ScriptedSandbox(error)) as server:
            body = (await server.complete("def one():\n", rerank={"tests": TESTS, "num_candidates": 1})).json()
            assert body["rerank"]["status"] == "degraded"
            await server.complete("def one():\n", rerank={"tests": TESTS, "num_candidates": 1, "on_error": "fail"})
            assert (await scrape(server))["touchstone_sandbox_runs_total", f"{word},"] == 2
    async with serve(isolated=False) as server:
        await server.complete("def one():\n", rerank={"tests": TESTS})
        families = await scrape(server)
        assert families["touchstone_sandbox_runs_total", "sandbox_unavailable,"] == 1
        assert families["touchstone_sandbox_info", "none"] == 1


async def test_metrics_show_the_sandboxs_pool(serve: Serve) -> None:
    async with serve(sandbox=Pooled(judge)) as server:
        families = await scrape(server)
    assert families["touchstone_sandbox_slots", "busy"] == 3
    assert families["touchstone_sandbox_slots", "free"] == 1
    assert families["touchstone_sandbox_waiting", ""] == 5
    assert families["touchstone_sandbox_retries_total", ""] == 7
    assert families["touchstone_sandbox_zygotes_total", "recycled"] == 10


class Pooled(ScriptedSandbox):
    """One that says how busy it is."""

    def stats(self) -> PoolStats:
        return PoolStats(
            slots=4, busy=3, waiting=5, runs=6, retries=7, started=8, replaced=9, recycled=10, processes=(1,)
        )


async def test_labels_come_from_small_fixed_sets(server: Setup) -> None:
    for number in range(5):
        await server.client.get(f"/v1/models/{number}")
        await server.complete(model=f"odd{number}")
        await server.client.request(f"VERB{number}", "/health")
    text = (await server.client.get("/metrics")).text
    assert not re.search(r"odd\d|VERB\d|models/\d", text)


async def scrape(server: Setup) -> dict[tuple[str, str], float]:
    """Every sample by its name and its label values in the order of their labels' names."""
    reply = await server.client.get("/metrics")
    assert reply.headers["content-type"].startswith("text/plain")
    found = {}
    for family in text_string_to_metric_families(reply.text):
        for sample in family.samples:
            found[sample.name, ",".join(value for _, value in sorted(sample.labels.items()))] = sample.value
    return found


async def test_the_openapi_page_names_every_route_and_field(server: Setup) -> None:
    page = (await server.client.get("/openapi.json")).json()
    assert {"/v1/completions", "/v1/chat/completions", "/v1/feedback", "/v1/models", "/ready"} <= set(page["paths"])
    assert {"prompt", "suffix", "best_of", "rerank"} <= set(
        page["components"]["schemas"]["CompletionRequest"]["properties"]
    )
