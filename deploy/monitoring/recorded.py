"""Recording rules: what alerts look at over several windows, and what is dear to compute for a day."""

from __future__ import annotations

from deploy.monitoring.rules import Group, Recording

GENERATION = 'route=~"/v1/completions|/v1/chat/completions|/v1/fim/completions|/infill"'
"""Requests that an engine works for."""
_ASKED = 'route!~"/health|/ready|/version|/metrics"'
_PACE = "touchstone_time_per_output_token_seconds"
_DIVIDES = "/ (sum by (job) (rate(touchstone_request_duration_seconds_count{%s}[%s])) > 0)"


def errors(window: str) -> str:
    """The recorded share of requests that failed by no fault of their client."""
    return f"touchstone:errors:ratio_rate{window}"


def refused(code: str, window: str) -> str:
    """The share of generations refused with this code (a regular expression)."""
    part = f'sum by (job) (rate(touchstone_errors_total{{status="429",code=~"{code}"}}[{window}]))'
    return f"{part} {_DIVIDES % (GENERATION, window)}"


RECORDED = Group(
    name="touchstone.recorded",
    rules=(
        *(
            Recording(
                record=errors(window),
                expr=f'sum by (job) (rate(touchstone_errors_total{{status=~"5.."}}[{window}]))'
                f" {_DIVIDES % (_ASKED, window)}",
            )
            for window in ("5m", "30m", "1h", "6h")
        ),
        Recording(
            record="touchstone:time_per_output_token_seconds:mean5m",
            expr=f"sum by (job, instance) (rate({_PACE}_sum[5m]))"
            f" / (sum by (job, instance) (rate({_PACE}_count[5m])) > 0)",
        ),
        Recording(
            record="touchstone:time_to_first_token_seconds:p95_5m",
            expr="histogram_quantile(0.95, sum by (job, le) (rate(touchstone_time_to_first_token_seconds_bucket[5m])))",
        ),
        Recording(
            record="touchstone:host_memory:used_ratio",
            expr='sum by (job, instance) (touchstone_host_memory_bytes{kind="resident"})'
            " / on (job, instance) touchstone_host_memory_limit_bytes",
        ),
        Recording(
            record="touchstone:gpu_memory:used_ratio",
            expr='touchstone_gpu_memory_bytes{kind="used"} / ignoring (kind) touchstone_gpu_memory_bytes{kind="total"}',
        ),
        Recording(record="touchstone:queue_refusals:ratio_rate5m", expr=refused("overloaded", "5m")),
        Recording(
            record="touchstone:rate_limit_refusals:ratio_rate5m",
            expr=refused("rate_limit_exceeded|concurrency_limit_exceeded", "5m"),
        ),
        Recording(
            record="touchstone:sandbox_not_run:ratio_rate5m",
            expr='sum by (job) (rate(touchstone_sandbox_runs_total{tier=""}[5m]))'
            " / (sum by (job) (rate(touchstone_sandbox_runs_total[5m])) > 0)",
        ),
        Recording(
            record="touchstone:suggestions_accepted:ratio1d",
            expr="sum by (job) (increase(touchstone_suggestions_accepted_total[1d]))"
            " / (sum by (job) (increase(touchstone_suggestions_shown_total[1d])) > 0)",
        ),
        Recording(
            record="touchstone:verifier:said_mean1h",
            expr='sum by (job, method) (increase(touchstone_verifier_score_sum{label=~"pass|fail"}[1h]))'
            ' / (sum by (job, method) (increase(touchstone_verifier_score_count{label=~"pass|fail"}[1h])) >= 100)',
        ),
        Recording(
            record="touchstone:verifier:found_mean1h",
            expr='(sum by (job, method) (increase(touchstone_verifier_score_count{label="pass"}[1h]))'
            ' or 0 * sum by (job, method) (increase(touchstone_verifier_score_count{label=~"pass|fail"}[1h])))'
            ' / (sum by (job, method) (increase(touchstone_verifier_score_count{label=~"pass|fail"}[1h])) >= 100)',
        ),
    ),
)
