"""Engine and sandbox with a span around whatever they are asked for. What they do is theirs, errors included."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from opentelemetry import propagate
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer, set_span_in_context

from engine import PASSED_ON, Engine, EngineInfo, Event, Finished, GenerationRequest, Prompt, ScoredCompletion, Started
from sandbox import NOBODYS, Limits, OnTest, Outcome, Program, Sandbox, Suite, Whose


class TracedEngine:
    """An `Engine`: `generate` from the call to the last candidate's end, its `queue` below it.

    What another server is asked for carries the span on, so that its own becomes a child of it.
    """

    def __init__(self, engine: Engine, tracer: Tracer) -> None:
        self._engine, self._tracer = engine, tracer

    @property
    def info(self) -> EngineInfo:
        """See `Engine.info`."""
        return self._engine.info

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[Event, None]:
        """See `Engine.generate`."""
        began_ns, info = time.time_ns(), self._engine.info
        kind = SpanKind.CLIENT if info.engine == "openai" else SpanKind.INTERNAL
        span = self._tracer.start_span("generate", kind=kind, start_time=began_ns)
        span.set_attributes({"touchstone.engine": info.engine, "touchstone.candidates": request.n})
        # Not attached: between two events of a generator its consumer's code runs. Each consumer has its own task.
        PASSED_ON.set(_carried(span))
        tokens, finished = 0, 0
        try:
            async with aclosing(self._engine.generate(request)) as events:
                async for event in events:
                    if isinstance(event, Started):
                        self._queue(span, began_ns, event.queue_s)
                    elif isinstance(event, Finished):
                        tokens, finished = tokens + event.token_count, finished + 1
                    yield event
        except Exception as error:
            failed(span, error)
            raise
        finally:
            span.set_attributes({"gen_ai.usage.output_tokens": tokens, "touchstone.finished": finished})
            span.end()

    async def score(self, prompt: Prompt, completions: Sequence[str]) -> list[ScoredCompletion]:
        """See `Engine.score`."""
        with self._tracer.start_as_current_span("score", record_exception=False) as span:
            told = PASSED_ON.set(_carried(span))
            try:
                return await self._engine.score(prompt, completions)
            finally:
                PASSED_ON.reset(told)

    async def aclose(self) -> None:
        """See `Engine.aclose`."""
        await self._engine.aclose()

    def _queue(self, parent: Span, began_ns: int, queue_s: float) -> None:
        span = self._tracer.start_span("queue", set_span_in_context(parent), start_time=began_ns)
        span.end(began_ns + int(queue_s * 1e9))


class TracedSandbox:
    """A `Sandbox`: `execute` from the call to the verdict, waiting for a slot included."""

    def __init__(self, sandbox: Sandbox, tracer: Tracer) -> None:
        self._sandbox, self._tracer = sandbox, tracer

    async def run(
        self,
        program: Program,
        suite: Suite,
        limits: Limits,
        on_test: OnTest | None = None,
        *,
        whose: Whose = NOBODYS,
    ) -> Outcome:
        """See `Sandbox.run`."""
        with self._tracer.start_as_current_span(
            "execute", record_exception=False, set_status_on_exception=False
        ) as span:
            try:
                outcome = await self._sandbox.run(program, suite, limits, on_test, whose=whose)
            except Exception as error:
                failed(span, error)
                raise
            span.set_attributes(
                {
                    "touchstone.run.status": outcome.status.value,
                    "touchstone.run.tier": outcome.tier,
                    "touchstone.run.passed": outcome.passed,
                    "touchstone.run.wall_s": outcome.wall_s,
                }
            )
            return outcome

    async def aclose(self) -> None:
        """See `Sandbox.aclose`."""
        await self._sandbox.aclose()


def _carried(span: Span) -> dict[str, str]:
    """The headers that name a span to another server."""
    carrier: dict[str, str] = {}
    propagate.inject(carrier, set_span_in_context(span))
    return carrier


def failed(span: Span, error: BaseException) -> None:
    """Its class alone: a message may hold what a client sent."""
    span.set_status(Status(StatusCode.ERROR))
    span.set_attribute("error.type", type(error).__name__)
