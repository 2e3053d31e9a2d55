"""For every alert, series that make it fire, and what is nearly so and must not. Series are written as `promtool` has
them: a start and a step a minute."""

from __future__ import annotations

from dataclasses import dataclass

S = 'job="touchstone",instance="a:8000"'
"""What Prometheus adds to every series."""
ROUTE = 'route="/v1/completions",status="200"'


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Series of one alert at one time."""

    alert: str
    series: dict[str, str]
    """Values by the series' name and labels, `S` not among them."""
    at: str
    fires: int
    """How many alerts of this name."""


def _asked(step: int) -> dict[str, str]:
    return {f"touchstone_request_duration_seconds_count{{{ROUTE}}}": f"0+{step}x4000"}


def _pace(values: str) -> dict[str, str]:
    return {
        "touchstone_time_per_output_token_seconds_sum{}": values,
        "touchstone_time_per_output_token_seconds_count{}": "0+60x4000",
    }


def _first(slow: int) -> dict[str, str]:
    name = "touchstone_time_to_first_token_seconds_bucket"
    return {
        f'{name}{{le="1.0"}}': f"0+{100 - slow}x4000",
        f'{name}{{le="5.0"}}': "0+100x4000",
        f'{name}{{le="+Inf"}}': "0+100x4000",
    }


def _scores(said: float, passed: int) -> dict[str, str]:
    name = 'touchstone_verifier_score_{}{{method="verifier",label="{}"}}'
    return {
        name.format("count", "pass"): f"0+{passed}x4000",
        name.format("count", "fail"): f"0+{10 - passed}x4000",
        name.format("sum", "pass"): f"0+{said * passed}x4000",
        name.format("sum", "fail"): f"0+{said * (10 - passed)}x4000",
    }


def _memory(resident: int) -> dict[str, str]:
    return {
        'touchstone_host_memory_bytes{process="server",kind="resident"}': f"{resident}x4000",
        'touchstone_host_memory_bytes{process="server",kind="virtual"}': "9000x4000",
        'touchstone_host_memory_bytes{process="children",kind="resident"}': "400x4000",
        "touchstone_host_memory_limit_bytes{}": "1000x4000",
    }


def _gpu(used: int) -> dict[str, str]:
    name = 'touchstone_gpu_memory_bytes{{gpu="0",kind="{}"}}'
    return {name.format("used"): f"{used}x4000", name.format("total"): "1000x4000"}


def _stale(created_s: int, signals: str) -> dict[str, str]:
    """`promtool`'s time begins in 1970: what is older was made before."""
    return {
        "touchstone_training_round_created_timestamp_seconds{}": f"{created_s}x4000",
        'touchstone_feedback_total{type="accept",source="key"}': signals,
    }


def _error(code: str, status: int, step: float) -> dict[str, str]:
    return {f'touchstone_errors_total{{status="{status}",code="{code}"}}': f"0+{step}x4000"}


CASES = (
    Case(alert="TouchstoneDown", series={"up{}": "1x10 0x10"}, at="15m", fires=1),
    Case(alert="TouchstoneDown", series={"up{}": "1x10 0x1 1x10"}, at="15m", fires=0),
    Case(alert="TouchstoneNoReadyModel", series={"touchstone_ready{}": "0x20"}, at="10m", fires=1),
    Case(alert="TouchstoneNoReadyModel", series={"up{}": "1x20"}, at="10m", fires=1),  # nothing says anything of it
    Case(alert="TouchstoneNoReadyModel", series={"touchstone_ready{}": "1x20"}, at="10m", fires=0),
    Case(
        alert="TouchstoneErrorsFast",
        series=_asked(100) | _error("store_failed", 503, 10),
        at="90m",
        fires=1,
    ),
    Case(alert="TouchstoneErrorsFast", series=_asked(100) | _error("overloaded", 429, 10), at="90m", fires=0),
    Case(alert="TouchstoneErrorsFast", series=_asked(100) | _error("engine_failed", 500, 5), at="90m", fires=0),
    Case(alert="TouchstoneErrorsSlow", series=_asked(100) | _error("engine_failed", 500, 4), at="7h", fires=1),
    Case(alert="TouchstoneErrorsSlow", series=_asked(100) | _error("engine_failed", 500, 2), at="7h", fires=0),
    Case(alert="TouchstoneSlowTokens", series=_pace("0+0.6x240 144+1.2x60"), at="260m", fires=1),
    Case(alert="TouchstoneSlowTokens", series=_pace("0+0.6x240 144+0.8x60"), at="260m", fires=0),
    Case(alert="TouchstoneFirstTokenSlow", series=_first(10), at="15m", fires=1),
    Case(alert="TouchstoneFirstTokenSlow", series=_first(4), at="15m", fires=0),
    Case(
        alert="TouchstoneQueueSaturated",
        series=_asked(100) | _error("overloaded", 429, 3),
        at="15m",
        fires=1,
    ),
    Case(
        alert="TouchstoneQueueSaturated", series=_asked(100) | _error("rate_limit_exceeded", 429, 50), at="15m", fires=0
    ),
    Case(alert="TouchstoneRateLimited", series=_asked(100) | _error("rate_limit_exceeded", 429, 50), at="30m", fires=1),
    Case(alert="TouchstoneRateLimited", series=_asked(100) | _error("overloaded", 429, 50), at="30m", fires=0),
    Case(alert="TouchstoneMemoryNearLimit", series=_memory(550), at="30m", fires=1),
    Case(alert="TouchstoneMemoryNearLimit", series=_memory(450), at="30m", fires=0),
    Case(alert="TouchstoneGpuMemoryNearLimit", series=_gpu(960), at="30m", fires=1),
    Case(alert="TouchstoneGpuMemoryNearLimit", series=_gpu(900), at="30m", fires=0),
    Case(
        alert="TouchstoneSandboxFailing",
        series={
            'touchstone_sandbox_runs_total{result="passed",tier="A"}': "0+90x4000",
            'touchstone_sandbox_runs_total{result="sandbox_busy",tier=""}': "0+10x4000",
        },
        at="15m",
        fires=1,
    ),
    Case(
        alert="TouchstoneSandboxFailing",
        series={'touchstone_sandbox_runs_total{result="wrong_answer",tier="A"}': "0+90x4000"},
        at="15m",
        fires=0,
    ),
    Case(alert="TouchstoneIsolationLost", series={'touchstone_sandbox_info{tier="none"}': "1x20"}, at="10m", fires=1),
    Case(alert="TouchstoneIsolationLost", series={'touchstone_sandbox_info{tier="B"}': "1x20"}, at="10m", fires=0),
    Case(alert="TouchstoneVerifierMiscalibrated", series=_scores(0.9, 5), at="2h", fires=1),
    Case(alert="TouchstoneVerifierMiscalibrated", series=_scores(0.6, 5), at="2h", fires=0),
    Case(alert="TouchstoneLogFailing", series=_error("store_failed", 503, 1), at="10m", fires=1),
    Case(alert="TouchstoneLogFailing", series=_error("engine_failed", 500, 1), at="10m", fires=0),
    Case(alert="TouchstoneOutboxFilling", series={"touchstone_outbox_exchanges{}": "0 3x20"}, at="10m", fires=1),
    Case(alert="TouchstoneOutboxFilling", series={"touchstone_outbox_exchanges{}": "0x5 3 0x20"}, at="10m", fires=0),
    Case(
        alert="TouchstoneJoinRateLow",
        series={
            'touchstone_dev_data_events_total{event="chat",result="joined"}': "0+7x4000",
            'touchstone_dev_data_events_total{event="chat",result="not_joined"}': "0+3x4000",
        },
        at="2h",
        fires=1,
    ),
    Case(
        alert="TouchstoneJoinRateLow",
        series={
            'touchstone_dev_data_events_total{event="chat",result="joined"}': "0+9x4000",
            'touchstone_dev_data_events_total{event="chat",result="not_joined"}': "0+1x4000",
        },
        at="2h",
        fires=0,
    ),
    Case(
        alert="TouchstoneModelNotServed",
        series={'touchstone_model_switches_total{result="failed"}': "0x10 1x20"},
        at="15m",
        fires=1,
    ),
    Case(
        alert="TouchstoneModelNotServed",
        series={'touchstone_model_switches_total{result="done"}': "0x10 1x20"},
        at="15m",
        fires=0,
    ),
    Case(
        alert="TouchstoneRoundRefused",
        series={'touchstone_promotions_total{decision="refused"}': "2x30 3x60"},
        at="45m",
        fires=1,
    ),
    Case(
        alert="TouchstoneRoundRefused",
        series={'touchstone_promotions_total{decision="promoted"}': "2x30 3x60"},
        at="45m",
        fires=0,
    ),
    Case(alert="TouchstoneRoundStale", series=_stale(-30 * 86400, "0+1x4000"), at="3h", fires=1),
    Case(alert="TouchstoneRoundStale", series=_stale(-30 * 86400, "7x4000"), at="3h", fires=0),  # nobody says anything
    Case(alert="TouchstoneRoundStale", series=_stale(-20 * 86400, "0+1x4000"), at="3h", fires=0),
    Case(
        alert="TouchstoneCanaryWorse",
        series={'touchstone_contest{model="m.r2",round="2",of="e_worse"}': "1 3 7x20"},
        at="10m",
        fires=1,
    ),
    Case(
        alert="TouchstoneCanaryWorse",
        series={'touchstone_contest{model="m.r2",round="2",of="e_better"}': "1 3 7x20"},
        at="10m",
        fires=0,
    ),
)
