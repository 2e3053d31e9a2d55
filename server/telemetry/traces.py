"""Spans and metrics of requests by OpenTelemetry's GenAI conventions, exported by OTLP over HTTP.

Below a request's server span: `generate` (and its `queue`), `execute` for each program run, `rerank` and `store`. The
same below a `shadow`, which begins a trace of its own.
Names, numbers and ids alone: no prompt, text, test or message of an error is ever put into a span. Conventions:
https://opentelemetry.io/docs/specs/semconv/gen-ai/ (in development there; the names are those of 2026).
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field

from opentelemetry import context as contexts
from opentelemetry import propagate
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.metrics import Histogram
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Link, Span, SpanKind, Status, StatusCode, get_current_span, set_span_in_context
from starlette.types import Scope

from engine import Engine, EngineInfo
from reranker import Ranking
from sandbox import Sandbox
from server.telemetry.ports import TracedEngine, TracedSandbox, failed
from server.telemetry.switch import Wanted
from server.translate.ask import Ask
from server.translate.evidence import finish_reason

_METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"})
_PROVIDER = "touchstone"
_SECONDS = tuple(0.01 * 2**power for power in range(14))
_TOKENS = tuple(4**power for power in range(14))
_FIRST = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
_EACH = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5)

Attributes = dict[str, str | int | float | bool | list[str]]


@dataclass(slots=True)
class Request:
    """One request under way: its span, and what is known of the model's part in it."""

    span: Span
    model: Attributes = field(default_factory=dict)
    """Of its metrics; empty where no model answered."""


_CURRENT: ContextVar[Request | None] = ContextVar("touchstone_traced_request", default=None)


def open_traces(environment: Mapping[str, str], wanted: Wanted) -> Traces:
    """Providers whose exporters, samplers and limits are set by the `OTEL_*` variables."""
    named = "OTEL_SERVICE_NAME" in environment or "service.name" in environment.get("OTEL_RESOURCE_ATTRIBUTES", "")
    resource = Resource.create({} if named else {"service.name": "touchstone"})
    tracers = TracerProvider(resource=resource)
    if wanted.traces:
        tracers.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    readers = [PeriodicExportingMetricReader(OTLPMetricExporter())] if wanted.metrics else []
    return Traces(tracers, MeterProvider(readers, resource=resource))


class Traces:
    """Makes spans and observations of what the server does; belongs to one event loop."""

    def __init__(self, tracers: TracerProvider, meters: MeterProvider) -> None:
        self._tracers, self._meters = tracers, meters
        self._tracer = tracers.get_tracer("touchstone")
        self._meter = meters.get_meter("touchstone")
        self._usage = self._histogram("gen_ai.client.token.usage", "{token}", _TOKENS)
        self._duration = self._histogram("gen_ai.server.request.duration", "s", _SECONDS)
        self._first = self._histogram("gen_ai.server.time_to_first_token", "s", _FIRST)
        self._each = self._histogram("gen_ai.server.time_per_output_token", "s", _EACH)

    def _histogram(self, name: str, unit: str, edges: tuple[float, ...]) -> Histogram:
        return self._meter.create_histogram(name, unit, explicit_bucket_boundaries_advisory=edges)

    @contextlib.contextmanager
    def request(self, scope: Scope, route: str, request_id: str) -> Iterator[Request]:
        """A request's server span, below the one that its `traceparent` names; `ended` says how it went."""
        carrier = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        method = scope["method"] if scope["method"] in _METHODS else "_OTHER"
        attributes: Attributes = {"http.request.method": method, "http.route": route}
        attributes["touchstone.request_id"] = request_id
        parent = propagate.extract(carrier)
        span = self._tracer.start_span(f"{method} {route}", parent, SpanKind.SERVER, attributes)
        request = Request(span)
        attached, current = contexts.attach(set_span_in_context(span, parent)), _CURRENT.set(request)
        try:
            yield request
        finally:
            _CURRENT.reset(current)
            contexts.detach(attached)
            span.end()

    def ended(self, request: Request, status: int, seconds: float) -> None:
        """How a request was answered."""
        request.span.set_attribute("http.response.status_code", status)
        failed = {"error.type": str(status)} if status >= 400 else {}
        request.span.set_attributes(failed)
        if status >= 500:
            request.span.set_status(Status(StatusCode.ERROR))
        if request.model:
            self._duration.record(seconds, {**request.model, **failed})

    def ports(self, engine: Engine, sandbox: Sandbox | None) -> tuple[Engine, Sandbox | None]:
        """The same two, with a span around whatever they are asked for."""
        traced = None if sandbox is None else TracedSandbox(sandbox, self._tracer)
        return TracedEngine(engine, self._tracer), traced

    def store(self) -> contextlib.AbstractContextManager[Span]:
        """A span around the record's way to disk."""
        return self._tracer.start_as_current_span("store", record_exception=False)

    @contextlib.contextmanager
    def shadow(self, of: str) -> Iterator[Span]:
        """What a challenger does about an exchange: a trace of its own, linked to the request's, which has ended."""
        request = get_current_span().get_span_context()
        links = [Link(request)] if request.is_valid else []
        attributes: Attributes = {"touchstone.shadow_of": of}
        span = self._tracer.start_span("shadow", contexts.Context(), attributes=attributes, links=links)
        attached, current = contexts.attach(set_span_in_context(span, contexts.Context())), _CURRENT.set(None)
        try:
            yield span
        except BaseException as error:
            failed(span, error)
            raise
        finally:
            _CURRENT.reset(current)
            contexts.detach(attached)
            span.end()

    def shadowed(self, span: Span, ask: Ask, ranking: Ranking, info: EngineInfo) -> None:
        """What a shadow came to. It is no observation: nobody waited for it."""
        self._reranked(ranking)
        span.set_attributes({**_model(ask, info), **_usage(ranking)})

    def ranked(self, ask: Ask, ranking: Ranking, info: EngineInfo) -> None:
        """What was decided, as the request's attributes, a `rerank` span that has just ended, and observations."""
        self._reranked(ranking)
        model = _model(ask, info)
        self._usage.record(ranking.prompt_tokens, {**model, "gen_ai.token.type": "input"})
        self._usage.record(ranking.sampled_tokens, {**model, "gen_ai.token.type": "output"})
        if ranking.first_token_s is not None:
            self._first.record(ranking.first_token_s, model)
            longest = max(candidate.token_count for candidate in ranking.candidates)
            if longest > 1:
                self._each.record(max(0.0, ranking.generate_s - ranking.first_token_s) / (longest - 1), model)
        request = _CURRENT.get()
        if request is not None:
            request.model = model
            request.span.set_attributes({**model, **_said(ask, ranking)})

    def _reranked(self, ranking: Ranking) -> None:
        now_ns = time.time_ns()
        span = self._tracer.start_span("rerank", start_time=now_ns - int(ranking.rerank_s * 1e9))
        span.set_attributes(
            {
                "touchstone.rerank.method": ranking.method,
                "touchstone.rerank.status": ranking.status,
                "touchstone.rerank.candidates": len(ranking.candidates),
                "touchstone.rerank.passing": ranking.num_passing,
            }
        )
        span.end(now_ns)

    def exemplar(self) -> dict[str, str] | None:
        """The current request's trace, for a metric to point to; None where it is not kept."""
        request = _CURRENT.get()
        found = None if request is None else request.span.get_span_context()
        if found is None or not found.trace_flags.sampled:
            return None
        return {"trace_id": f"{found.trace_id:032x}", "span_id": f"{found.span_id:016x}"}

    def flush(self) -> None:
        """Send what has not been sent yet. Blocks."""
        self._tracers.force_flush()
        self._meters.force_flush()

    def close(self) -> None:
        """Send what has not been sent yet, and end the threads that do. Blocks."""
        self._tracers.shutdown()
        self._meters.shutdown()


def _model(ask: Ask, info: EngineInfo) -> Attributes:
    """What spans and metrics are told apart by."""
    return {
        "gen_ai.operation.name": "chat" if ask.route == "chat" else "text_completion",
        "gen_ai.provider.name": _PROVIDER,
        "gen_ai.request.model": info.model,
        "gen_ai.response.model": info.model,
    }


def _usage(ranking: Ranking) -> Attributes:
    return {
        "gen_ai.usage.input_tokens": ranking.prompt_tokens,
        "gen_ai.usage.output_tokens": ranking.sampled_tokens,
    }


def _said(ask: Ask, ranking: Ranking) -> Attributes:
    """The request and its reply in the conventions' words; of a list of prompts, the last that was ranked."""
    sampling = ranking.options.sampling
    said: Attributes = {
        "gen_ai.request.model": ask.model,
        "gen_ai.request.choice.count": ranking.options.n,
        "gen_ai.request.max_tokens": sampling.max_tokens,
        "gen_ai.request.temperature": sampling.temperature,
        "gen_ai.request.top_p": sampling.top_p,
        "gen_ai.response.id": ask.id,
        "gen_ai.response.finish_reasons": [finish_reason(candidate) for candidate in ranking.chosen],
        **_usage(ranking),
    }
    return said if sampling.seed is None else {**said, "gen_ai.request.seed": sampling.seed}
