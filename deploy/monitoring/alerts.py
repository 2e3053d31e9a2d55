"""Alerts. Each has a section among the runbooks (`docs/runbooks.md`), a unit test and a rehearsal."""

from __future__ import annotations

from deploy.monitoring.recorded import errors
from deploy.monitoring.rules import Alert, Group

_BUDGET = 0.005
"""Share of requests that may fail: 99.5 % are to succeed over 30 days. Burn rates and windows as in Google's Site
Reliability Workbook, chapter 5: 14.4 spends 2 % of the month's budget in an hour, 6 spends 5 % in six hours."""


def _burns(rate: float, long: str, short: str) -> str:
    return f"{errors(long)} > {rate * _BUDGET:g} and {errors(short)} > {rate * _BUDGET:g}"


SERVING = Group(
    name="touchstone.serving",
    rules=(
        Alert(
            name="TouchstoneDown",
            expr='up{job=~".*touchstone.*"} == 0',
            hold="2m",
            severity="critical",
            summary="{{ $labels.instance }} does not answer on /metrics",
        ),
        Alert(
            name="TouchstoneNoReadyModel",
            expr="max by (job) (touchstone_ready) == 0 or absent(touchstone_ready)",
            hold="2m",
            severity="critical",
            summary="no server{{ with $labels.job }} of {{ . }}{{ end }} takes requests",
        ),
        Alert(
            name="TouchstoneErrorsFast",
            expr=_burns(14.4, "1h", "5m"),
            hold="2m",
            severity="critical",
            summary="{{ $value | humanizePercentage }} of requests to {{ $labels.job }} failed in the last hour",
        ),
        Alert(
            name="TouchstoneErrorsSlow",
            expr=_burns(6, "6h", "30m"),
            hold="15m",
            severity="warning",
            summary="{{ $value | humanizePercentage }} of requests to {{ $labels.job }} failed in the last six hours",
        ),
        Alert(
            name="TouchstoneSlowTokens",
            expr="touchstone:time_per_output_token_seconds:mean5m > 1.5"
            " * avg_over_time(touchstone:time_per_output_token_seconds:mean5m[1d] offset 1h)"
            " and sum by (job, instance) (increase(touchstone_time_per_output_token_seconds_count[5m])) > 20",
            hold="10m",
            severity="warning",
            summary="a token takes {{ $value | humanizeDuration }} on {{ $labels.instance }}, half as much again as"
            " the day before",
        ),
        Alert(
            name="TouchstoneFirstTokenSlow",
            expr="touchstone:time_to_first_token_seconds:p95_5m > 2",
            hold="5m",
            severity="warning",
            summary="one request in twenty to {{ $labels.job }} waits {{ $value | humanizeDuration }} for a token",
        ),
        Alert(
            name="TouchstoneQueueSaturated",
            expr="touchstone:queue_refusals:ratio_rate5m > 0.01",
            hold="5m",
            severity="critical",
            summary="{{ $labels.job }} refuses {{ $value | humanizePercentage }} of requests, as its queue is full",
        ),
        Alert(
            name="TouchstoneRateLimited",
            expr="touchstone:rate_limit_refusals:ratio_rate5m > 0.2",
            hold="10m",
            severity="info",
            summary="{{ $value | humanizePercentage }} of the requests to {{ $labels.job }} are over their key's rate",
        ),
        Alert(
            name="TouchstoneMemoryNearLimit",
            expr="touchstone:host_memory:used_ratio > 0.9",
            hold="10m",
            severity="warning",
            summary="{{ $labels.instance }} uses {{ $value | humanizePercentage }} of the memory it may have",
        ),
        Alert(
            name="TouchstoneGpuMemoryNearLimit",
            expr="touchstone:gpu_memory:used_ratio > 0.95",
            hold="10m",
            severity="warning",
            summary="GPU {{ $labels.gpu }} of {{ $labels.instance }} is {{ $value | humanizePercentage }} full",
        ),
    ),
)

JUDGING = Group(
    name="touchstone.judging",
    rules=(
        Alert(
            name="TouchstoneSandboxFailing",
            expr="touchstone:sandbox_not_run:ratio_rate5m > 0.01",
            hold="5m",
            severity="warning",
            summary="{{ $value | humanizePercentage }} of the candidates of {{ $labels.job }} could not be run",
        ),
        Alert(
            name="TouchstoneIsolationLost",
            expr='touchstone_sandbox_info{tier="none"} == 1',
            hold="5m",
            severity="warning",
            summary="{{ $labels.instance }} has no isolation, so it runs no candidates",
        ),
        Alert(
            name="TouchstoneVerifierMiscalibrated",
            expr="abs(touchstone:verifier:said_mean1h - touchstone:verifier:found_mean1h) > 0.2",
            hold="30m",
            severity="info",
            summary="{{ $labels.method }} is off by {{ $value | humanize }} on what {{ $labels.job }} is asked",
        ),
    ),
)

LOG = Group(
    name="touchstone.log",
    rules=(
        Alert(
            name="TouchstoneLogFailing",
            expr='sum by (job) (rate(touchstone_errors_total{code="store_failed"}[5m])) > 0',
            hold="1m",
            severity="critical",
            summary="{{ $labels.job }} answers with errors because its log cannot be written",
        ),
        Alert(
            name="TouchstoneOutboxFilling",
            expr="touchstone_outbox_exchanges > 0",
            hold="5m",
            severity="warning",
            summary="{{ $value }} exchanges wait on {{ $labels.instance }} for the log's database",
        ),
        Alert(
            name="TouchstoneJoinRateLow",
            expr='sum by (job) (increase(touchstone_dev_data_events_total{result="not_joined"}[1h])) / (sum by (job)'
            ' (increase(touchstone_dev_data_events_total{result=~"joined|not_joined"}[1h])) >= 20) > 0.2',
            hold="10m",
            severity="info",
            summary="{{ $value | humanizePercentage }} of the editors' events find no answer on {{ $labels.job }}",
        ),
    ),
)

ROUNDS = Group(
    name="touchstone.rounds",
    rules=(
        Alert(
            name="TouchstoneModelNotServed",
            expr='sum by (job, instance) (increase(touchstone_model_switches_total{result="failed"}[15m])) > 0',
            hold="0s",
            severity="warning",
            summary="{{ $labels.instance }} could not serve the model that its store names",
        ),
        Alert(
            name="TouchstoneRoundRefused",
            expr='max by (job) (increase(touchstone_promotions_total{decision="refused"}[1h])) > 0',
            hold="0s",
            severity="info",
            summary="a round of {{ $labels.job }} did not pass its gate, or lost its contest",
        ),
        Alert(
            name="TouchstoneRoundStale",
            expr="time() - max by (job) (touchstone_training_round_created_timestamp_seconds) > 30 * 86400"
            " and sum by (job) (increase(touchstone_feedback_total[7d])) > 100",
            hold="1h",
            severity="info",
            summary="the champion of {{ $labels.job }} is {{ $value | humanizeDuration }} old; feedback keeps coming",
        ),
        Alert(
            name="TouchstoneCanaryWorse",
            expr='max by (job, model) (touchstone_contest{of="e_worse"}) > 5',
            hold="0s",
            severity="warning",
            summary="evidence of {{ $value | humanize }} that the challenger {{ $labels.model }} is worse",
        ),
    ),
)

GROUPS = (SERVING, JUDGING, LOG, ROUNDS)
ALERTS = tuple(rule for group in GROUPS for rule in group.rules if isinstance(rule, Alert))
