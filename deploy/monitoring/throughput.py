"""The third row: how much is done, what waits, and the memory it takes."""

from __future__ import annotations

from deploy.monitoring.panels import ROUTE, Panel, Query, Row, gauge, quantile, total

THROUGHPUT = Row(
    title="Throughput and memory",
    panels=(
        Panel(
            title="Tokens",
            text="A second: read, returned, and sampled for candidates that were not returned.",
            queries=(
                Query(expr=total("prompt_tokens_total"), legend="prompt"),
                Query(expr=total("generation_tokens_total", by="kind"), legend="{{kind}}"),
            ),
        ),
        Panel(
            title="Running and waiting",
            text="Requests in the engine and in its queue, and the candidates it decodes at this moment.",
            queries=(
                Query(expr=gauge("requests_running"), legend="requests running"),
                Query(expr=gauge("requests_waiting"), legend="requests waiting"),
                Query(expr=gauge("batch_size"), legend="candidates decoded"),
            ),
            runbook="TouchstoneQueueSaturated",
        ),
        Panel(
            title="Host memory",
            text="Resident memory of each server and of what it started, and what it may have at most.",
            queries=(
                Query(
                    expr=gauge("host_memory_bytes", 'kind="resident"', by="instance, process"),
                    legend="{{instance}} {{process}}",
                ),
                Query(expr=gauge("host_memory_limit_bytes", by="instance"), legend="{{instance}} limit"),
            ),
            unit="bytes",
            runbook="TouchstoneMemoryNearLimit",
        ),
        Panel(
            title="GPU memory",
            text="Used and total of each GPU, by all that runs on it.",
            queries=(
                Query(
                    expr=gauge("gpu_memory_bytes", 'kind=~"used|total"', by="instance, gpu, kind"),
                    legend="{{instance}} GPU {{gpu}} {{kind}}",
                ),
            ),
            unit="bytes",
            runbook="TouchstoneGpuMemoryNearLimit",
            gpu=True,
        ),
        Panel(
            title="Requests by route",
            text="Answers a second, by route and status. 499: the client went away, or its request was cancelled.",
            queries=(
                Query(
                    expr=total("request_duration_seconds_count", ROUTE, by="route, status"),
                    legend="{{route}} {{status}}",
                ),
            ),
            unit="reqps",
        ),
        Panel(
            title="Refused and failed",
            text="Answers of 429 and 5xx a second, by the error's code; those within a stream that had begun too.",
            queries=(
                Query(expr=f"{total('errors_total', by='status, code')} or vector(0)", legend="{{status}} {{code}}"),
            ),
            unit="reqps",
            runbook="TouchstoneErrorsFast",
        ),
        Panel(
            title="Cancelled",
            text="Requests stopped a second, by where they were: their client went away, cancelled or typed on.",
            queries=(Query(expr=total("cancelled_total", by="stage"), legend="{{stage}}"),),
            unit="reqps",
        ),
        Panel(
            title="From a stop to the end of its work",
            text="How long a stopped request still holds engine, sandbox or verifier.",
            queries=tuple(
                Query(expr=quantile(part, "cancel_latency_seconds"), legend=f"p{part * 100:.0f}")
                for part in (0.5, 0.95, 0.99)
            ),
            unit="s",
        ),
    ),
)
