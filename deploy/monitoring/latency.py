"""The second row: how long things take, and where the time goes."""

from __future__ import annotations

from deploy.monitoring.panels import CHOSEN, ROUTE, Panel, Query, Row, mean, percentiles, quantile, ratio, total

_PACE = "time_per_output_token_seconds"
_GAPS = 'route=~"/infill|/v1/fim/completions"'
_OF = "engine, effective_dtype, model, round"
_CHAMPION = CHOSEN.replace("{", '{role="champion",')
_BY_MODEL = (
    f"sum by (le, {_OF}) (rate(touchstone_{_PACE}_bucket[$__rate_interval])"
    f" * on (job, instance) group_left ({_OF}) {_CHAMPION})"
)
_STAGES = (
    ("queue", mean("queue_time_seconds")),
    ("prefill", mean("prefill_time_seconds")),
    ("decode", mean("decode_time_seconds")),
    ("execute (candidates summed)", mean("rerank_duration_seconds", 'stage="execute"')),
    ("rerank", mean("rerank_duration_seconds", 'stage="rerank"')),
    ("gateway", mean("gateway_overhead_seconds")),
)

LATENCY = Row(
    title="Latency",
    panels=(
        Panel(
            title="ms/token, by model and type",
            text="Median and p95 a request, of each champion by its engine and the type it computes in, so that fp16"
            " and int8 lie on one chart. Just after a switch, requests of the model before count for the new one.",
            queries=tuple(
                Query(
                    expr=f"histogram_quantile({share}, {_BY_MODEL})",
                    legend=f"p{share * 100:.0f} {{{{model}}}} {{{{engine}}}} {{{{effective_dtype}}}}",
                )
                for share in (0.5, 0.95)
            ),
            unit="s",
            width=12,
            runbook="TouchstoneSlowTokens",
        ),
        Panel(
            title="ms/token, all requests",
            text="How many requests took how long a token: two humps are two kinds of load.",
            queries=(Query(expr=total(f"{_PACE}_bucket", by="le"), legend="{{le}}"),),
            unit="s",
            kind="heatmap",
            width=12,
        ),
        Panel(
            title="Between tokens",
            text="Gaps between the pieces of a text, a token: what whoever reads a stream sees. The panels before count"
            " requests, this one tokens.",
            queries=percentiles("inter_token_latency_seconds"),
            unit="s",
        ),
        Panel(
            title="First token",
            text="From a request's arrival to its first token. A dot is one request; it leads to its trace.",
            queries=percentiles("time_to_first_token_seconds", exemplars=True),
            unit="s",
            runbook="TouchstoneFirstTokenSlow",
        ),
        Panel(
            title="Whole requests",
            text="From the first byte in to the last byte out, of the chosen routes. A dot is one request; it leads"
            " to its trace.",
            queries=percentiles("request_duration_seconds", ROUTE, exemplars=True),
            unit="s",
        ),
        Panel(
            title="Whole requests, p95 by route",
            text="The slowest twentieth of each route.",
            queries=(Query(expr=quantile(0.95, "request_duration_seconds", ROUTE, by="route"), legend="{{route}}"),),
            unit="s",
        ),
        Panel(
            title="Waiting in the engine's queue",
            text="Before an engine begins. There is no other queue.",
            queries=percentiles("queue_time_seconds"),
            unit="s",
            runbook="TouchstoneQueueSaturated",
        ),
        Panel(
            title="Where the time goes",
            text="The mean of each stage. Candidates run while others still decode: `execute` and `decode` overlap.",
            queries=tuple(Query(expr=expr, legend=name) for name, expr in _STAGES),
            unit="s",
            stacked=True,
        ),
        Panel(
            title="Gaps answered within 500 ms",
            text="Of `/infill` and `/v1/fim/completions`. Gaps that come by `/v1/completions` are not told from other"
            " requests there.",
            queries=(
                Query(
                    expr=ratio(
                        total("request_duration_seconds_bucket", _GAPS + ',le="0.5"', by="route"),
                        total("request_duration_seconds_count", _GAPS, by="route"),
                    ),
                    legend="{{route}}",
                ),
            ),
            unit="percentunit",
        ),
    ),
)
