"""OpenTelemetry: off by default and then not imported; on, what reaches a real receiver."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from engine import ModelStore, ScriptedEngine, build_engine
from server import Config, create_app
from server.telemetry.switch import start, wanted
from tests.engine.upstream_server import KEY, Upstream
from tests.engine.upstream_server import serve as serve_upstream

from .conftest import Serve, Setup
from .fleet import ONE, fleet, id_of, name_of, until
from .test_rerank import TESTS

pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="the extra otel is not installed")

from .otlp_receiver import Received, attributes, receiving

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TRACEPARENT = {"traceparent": f"00-{TRACE}-{PARENT}-01"}


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Received]:
    with receiving() as received:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", received.url)
        monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
        yield received


@asynccontextmanager
async def traced_over(serve: Serve, **parts: Any) -> AsyncIterator[Setup]:
    """A server whose traces go to the receiver that the environment names."""
    async with serve(**parts) as setup:
        traces = await asyncio.to_thread(start)
        assert traces is not None
        traced = replace(setup.parts, traces=traces)
        transport = httpx.ASGITransport(create_app(traced))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            yield Setup(client, traced)
        await asyncio.to_thread(traces.close)


async def sent(setup: Setup) -> None:
    """Wait until all has been sent."""
    assert setup.parts.traces is not None
    await asyncio.to_thread(setup.parts.traces.flush)


@pytest.fixture
async def traced(serve: Serve, receiver: Received) -> AsyncIterator[Setup]:
    async with traced_over(serve) as setup:
        yield setup


def test_nothing_is_imported_unless_it_is_asked_for() -> None:
    code = "import sys, server.app, server.build; sys.exit(any('opentelemetry' in name for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0
    assert start({}) is None


def test_the_variables_switch_signals_on_and_what_cannot_be_had_is_named(caplog: pytest.LogCaptureFixture) -> None:
    def on(**environment: str) -> tuple[bool, bool]:
        found = wanted(environment)
        return found.traces, found.metrics

    assert on() == (False, False)
    assert on(OTEL_EXPORTER_OTLP_ENDPOINT="http://x") == (True, True)
    assert on(OTEL_EXPORTER_OTLP_ENDPOINT="http://x", OTEL_SDK_DISABLED="true") == (False, False)
    assert on(OTEL_EXPORTER_OTLP_ENDPOINT="http://x", OTEL_METRICS_EXPORTER="none") == (True, False)
    assert on(OTEL_EXPORTER_OTLP_METRICS_ENDPOINT="http://x") == (False, True)
    assert on(OTEL_TRACES_EXPORTER="otlp") == (True, False)
    with caplog.at_level(logging.WARNING):
        assert start({"OTEL_TRACES_EXPORTER": "console"}) is None
        assert start({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://x", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}) is None
    assert "OTEL_TRACES_EXPORTER=console: can be otlp or none" in caplog.text
    assert "OTEL_EXPORTER_OTLP_PROTOCOL=grpc: can be http/protobuf" in caplog.text


async def test_a_requests_spans(traced: Setup, receiver: Received) -> None:
    secret = 'def one():\n    """swordfish"""\n'
    tests = {**TESTS, "code": TESTS["code"] + "\nassert 'swordfish2'"}
    body = {"rerank": {"tests": tests, "early_exit": "off", "num_candidates": 2}, "max_tokens": 20, "seed": 7}
    reply = (await traced.complete(secret, TRACEPARENT, **body)).json()
    assert (await traced.complete("hello", n=0)).status_code == 400
    await traced.client.get("/health")
    await sent(traced)
    server, refused = receiver.named("POST /v1/completions")
    assert (server.trace_id.hex(), server.parent_span_id.hex()) == (TRACE, PARENT)
    assert {span.trace_id.hex() for span in receiver.spans if span is not refused} == {TRACE}
    children = {span.name for span in receiver.spans if span.parent_span_id == server.span_id}
    assert children == {"generate", "execute", "rerank", "store"}
    [generate, *_] = receiver.named("generate")
    assert receiver.named("queue")[0].parent_span_id == generate.span_id
    assert server.start_time_unix_nano <= generate.start_time_unix_nano <= generate.end_time_unix_nano
    said = attributes(server)
    assert said["gen_ai.response.id"] == reply["id"]
    assert said["gen_ai.usage.output_tokens"] == reply["usage"]["completion_tokens"]
    assert said["gen_ai.operation.name"] == "text_completion"
    assert (said["gen_ai.request.max_tokens"], said["gen_ai.request.seed"]) == (20, 7)
    assert said["http.response.status_code"] == 200
    assert said["http.route"] == "/v1/completions"
    assert attributes(refused)["error.type"] == "400"
    assert "gen_ai.response.id" not in attributes(refused)
    assert not any(b"swordfish" in body or b"return" in body for body in receiver.bodies)
    assert receiver.resources[0]["service.name"] == "touchstone"
    assert receiver.resources[0]["deployment.environment.name"] == "test"
    assert len(receiver.named("GET /health")) == 0


async def test_a_shadow_is_a_trace_of_its_own_and_names_its_request(receiver: Received, tmp_path: Path) -> None:
    traces = await asyncio.to_thread(start)
    assert traces is not None
    async with fleet(tmp_path, traces=traces) as served:
        await served.admin(action="challenge", id=id_of(1), mode="shadow")
        reply = (await served.complete(ONE, TRACEPARENT, rerank={"tests": {"code": "assert one() == 1"}})).json()
        await until(lambda: served.service.shadows is not None and served.service.shadows.running == 0)
        await served.engines[id_of(1)].aclose()
        await served.complete(ONE, TRACEPARENT, rerank={"tests": {"code": "assert one() == 1"}})
        await until(lambda: served.service.shadows is not None and served.service.shadows.running == 0)
        await asyncio.to_thread(traces.close)
    server = receiver.named("POST /v1/completions")[0]
    shadow, failed = receiver.named("shadow")
    assert (shadow.trace_id != server.trace_id, shadow.parent_span_id) == (True, b"")
    assert [(link.trace_id.hex(), link.span_id) for link in shadow.links] == [(TRACE, server.span_id)]
    said = attributes(shadow)
    assert (said["touchstone.shadow_of"], said["gen_ai.response.model"]) == (reply["id"], name_of(1))
    below = {span.name for span in receiver.spans if span.parent_span_id == shadow.span_id}
    assert below == {"generate", "execute", "rerank", "store"}
    assert {span.trace_id for span in receiver.spans if span.parent_span_id == shadow.span_id} == {shadow.trace_id}
    assert attributes(server)["gen_ai.response.model"] == name_of(0)
    assert attributes(failed)["error.type"] == "EngineFailed"
    models = {
        attributes(point)["gen_ai.response.model"]
        for metric in receiver.metrics
        for point in metric.histogram.data_points
    }
    assert models == {name_of(0)}


async def test_the_conventions_metrics(traced: Setup, receiver: Received) -> None:
    for _ in range(2):
        assert (await traced.chat("hello", rerank={"method": "off"})).status_code == 200
    await sent(traced)
    found = {metric.name: metric for metric in receiver.metrics}
    names = {f"gen_ai.server.{name}" for name in ("request.duration", "time_to_first_token", "time_per_output_token")}
    assert set(found) == names | {"gen_ai.client.token.usage"}
    assert {metric.unit for name, metric in found.items() if name in names} == {"s"}
    by_type = {
        attributes(point)["gen_ai.token.type"]: point
        for point in found["gen_ai.client.token.usage"].histogram.data_points
    }
    assert (by_type["input"].count, by_type["input"].sum) == (2, 2 * len("hello"))
    [point] = found["gen_ai.server.request.duration"].histogram.data_points
    assert point.count == 2
    assert attributes(point)["gen_ai.operation.name"] == "chat"


async def test_a_slow_request_is_linked_to_its_trace(traced: Setup) -> None:
    assert (await traced.complete("hello", TRACEPARENT)).status_code == 200
    accept = {"accept": "application/openmetrics-text; version=1.0.0, text/plain;q=0.5"}
    page = await traced.client.get("/metrics", headers=accept)
    assert page.headers["content-type"].startswith("application/openmetrics-text")
    assert page.text.endswith("# EOF\n")
    for name in ("request_duration_seconds", "time_to_first_token_seconds"):
        lines = [line for line in page.text.splitlines() if line.startswith(f"touchstone_{name}_bucket")]
        assert any(f'trace_id="{TRACE}"' in line for line in lines), name
    plain = await traced.client.get("/metrics")
    assert plain.headers["content-type"].startswith("text/plain")
    assert TRACE not in plain.text
    await sent(traced)


async def test_an_upstream_is_told_whose_child_it_is(serve: Serve, receiver: Received, tmp_path: Path) -> None:
    side = Upstream(ScriptedEngine({"hello": ["one"]}))
    with serve_upstream(side.app()) as url:
        config = Config.model_validate(
            {"state_dir": tmp_path, "engine": {"type": "openai", "upstream": {"base_url": f"{url}/v1", "api_key": KEY}}}
        )
        engine = await build_engine(config.engine, ModelStore(tmp_path))
        async with traced_over(serve, engine=engine) as traced:
            assert (await traced.complete("hello", TRACEPARENT, rerank={"method": "off"})).status_code == 200
            await sent(traced)
    [generate] = receiver.named("generate")
    assert side.headers[-1]["traceparent"] == f"00-{TRACE}-{generate.span_id.hex()}-01"
