"""The first row: how it stands, in tiles. Time a token and memory come first."""

from __future__ import annotations

from deploy.monitoring.panels import (
    GOOD_ABOVE,
    GOOD_BELOW,
    Panel,
    Query,
    Row,
    chosen,
    gauge,
    quantile,
    share,
    steps,
    tile,
    total,
)

_PACE = "time_per_output_token_seconds"
_FIRST = "time_to_first_token_seconds"
_SHOWN = "sum(increase(touchstone_suggestions_shown_total[1d]))"
_ACCEPTED = "sum(increase(touchstone_suggestions_accepted_total[1d]))"
_GAIN = "sum(increase(touchstone_rerank_gain_total{outcome=~'%s'}[1d]))"
_RESIDENT = gauge("host_memory_bytes", 'kind="resident"', by="job, instance")
_LIMIT = gauge("host_memory_limit_bytes", by="job, instance")
_CHAMPIONS = chosen('touchstone_model_info{role="champion"}')

OVERVIEW = Row(
    title="Overview",
    panels=(
        tile(
            "ms/token, median",
            "Of a request, after its first token: the middle one of all requests.",
            quantile(0.5, _PACE),
            "s",
            runbook="TouchstoneSlowTokens",
        ),
        tile(
            "ms/token, p95",
            "The same, of the slowest twentieth.",
            quantile(0.95, _PACE),
            "s",
            runbook="TouchstoneSlowTokens",
        ),
        tile(
            "Memory in use",
            "Of the fullest server: resident memory of it and its children over what it may have (its container's"
            " limit, else the machine's memory). Pages that several share count for each.",
            f"max({_RESIDENT} / {_LIMIT})",
            "percentunit",
            steps=steps(GOOD_BELOW, 0.8, 0.9),
            runbook="TouchstoneMemoryNearLimit",
        ),
        tile(
            "GPU memory in use",
            "Of the fullest GPU.",
            'max(touchstone_gpu_memory_bytes{kind="used"} / ignoring (kind) touchstone_gpu_memory_bytes{kind="total"})',
            "percentunit",
            steps=steps(GOOD_BELOW, 0.9, 0.95),
            runbook="TouchstoneGpuMemoryNearLimit",
            gpu=True,
        ),
        tile(
            "Ready servers",
            "Those that take requests.",
            "sum(touchstone_ready)",
            steps=steps(GOOD_ABOVE, 1, 1),
            runbook="TouchstoneNoReadyModel",
        ),
        tile(
            "Alerts",
            "Those of Touchstone that fire now.",
            'count(ALERTS{alertname=~"Touchstone.+",alertstate="firing"}) or vector(0)',
            steps=steps(GOOD_BELOW, 1, 1),
        ),
        tile(
            "First token, p95",
            "From a request's arrival to its first token, waiting included.",
            quantile(0.95, _FIRST),
            "s",
            steps=steps(GOOD_BELOW, 1, 2),
            runbook="TouchstoneFirstTokenSlow",
        ),
        tile("Requests", "All that were answered, a second.", total("request_duration_seconds_count"), "reqps"),
        tile(
            "Errors",
            "Requests that failed by no fault of their client (5xx, also within a stream), of all.",
            share(total("errors_total", 'status=~"5.."'), total("request_duration_seconds_count")),
            "percentunit",
            steps=steps(GOOD_BELOW, 0.005, 0.03),
            runbook="TouchstoneErrorsFast",
        ),
        tile(
            "Accepted, 24 h",
            "Suggestions that were taken, of those that editors told were shown.",
            f"{_ACCEPTED} / {_SHOWN}",
            "percentunit",
        ),
        Panel(
            title="Rounds served",
            text="The champion of each server.",
            queries=(Query(expr=f"count by (round) {_CHAMPIONS}", legend="{{round}}"),),
            kind="names",
            width=4,
            runbook="TouchstoneRoundStale",
        ),
        tile(
            "Rescued, 24 h",
            "Of the answers that were tested: the first candidate failed, and reranking found one that passes.",
            f"{_GAIN % 'rescued'} / {_GAIN % '.+'}",
            "percentunit",
        ),
    ),
)
