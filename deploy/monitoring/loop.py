"""The fifth row: what users say, and what became of it: rounds, contests, switches."""

from __future__ import annotations

from deploy.monitoring.panels import CHOSEN, Panel, Query, Row, gauge, ratio, total

_JOINED = 'result=~"joined|not_joined"'
_TESTED = 'outcome=~"pass|fail"'

LOOP = Row(
    title="Feedback and training",
    panels=(
        Panel(
            title="Signals",
            text="What users and editors say of answers, a second.",
            runbook="TouchstoneLogFailing",
            queries=(Query(expr=total("feedback_total", by="type, source"), legend="{{type}} {{source}}"),),
        ),
        Panel(
            title="Shown, accepted",
            text="Suggestions a second. Only what editors tell of.",
            queries=(
                Query(expr=total("suggestions_shown_total"), legend="shown"),
                Query(expr=total("suggestions_accepted_total"), legend="accepted"),
            ),
        ),
        Panel(
            title="Editors' events that found their answer",
            text="Of Continue's events that speak of an answer.",
            queries=(
                Query(
                    expr=ratio(
                        total("dev_data_events_total", 'result="joined"'), total("dev_data_events_total", _JOINED)
                    ),
                    legend="joined",
                ),
            ),
            unit="percentunit",
            runbook="TouchstoneJoinRateLow",
        ),
        Panel(
            title="Answers that pass, by round",
            text="Of the answers that were tested. Champion and challenger beside each other.",
            queries=(
                Query(
                    expr=ratio(
                        total("answers_total", 'outcome="pass"', by="round, role"),
                        total("answers_total", _TESTED, by="round, role"),
                    ),
                    legend="round {{round}}, {{role}}",
                ),
            ),
            unit="percentunit",
            runbook="TouchstoneCanaryWorse",
        ),
        Panel(
            title="Contest: evidence",
            text="That the challenger is better, and that it is worse. At 1/alpha (20 by default) it is decided.",
            queries=(
                Query(
                    expr='max by (model, of) (touchstone_contest{of=~"e_.+",model=~"$model"})',
                    legend="{{model}} {{of}}",
                ),
            ),
            runbook="TouchstoneCanaryWorse",
        ),
        Panel(
            title="Contest: difference",
            text="The challenger's outcomes less the champion's, the mean of all pairs so far.",
            signed=True,
            queries=(Query(expr='max by (model) (touchstone_contest{of="mean",model=~"$model"})', legend="{{model}}"),),
            runbook="TouchstoneCanaryWorse",
        ),
        Panel(
            title="Shadows",
            text="Requests that a challenger answered unseen, a second.",
            queries=(Query(expr=total("shadow_requests_total", by="result"), legend="{{result}}"),),
            unit="reqps",
        ),
        Panel(
            title="Pass@1 of the champion",
            text="One sample, on each suite it was evaluated on, as its manifest says.",
            queries=(
                Query(
                    expr='max by (suite, round) (touchstone_round_eval_pass_at_1{round=~"$round"})',
                    legend="{{suite}}, round {{round}}",
                ),
            ),
            unit="percentunit",
        ),
        Panel(
            title="Rounds by what became of them",
            text="All that the model store knows of.",
            queries=(Query(expr="max by (decision) (touchstone_promotions_total)", legend="{{decision}}"),),
            runbook="TouchstoneRoundRefused",
        ),
        Panel(
            title="Age of the champion",
            text="Since its folder was made.",
            queries=(
                Query(
                    expr="time() - max by (job) (touchstone_training_round_created_timestamp_seconds)", legend="{{job}}"
                ),
            ),
            unit="s",
            runbook="TouchstoneRoundStale",
        ),
        Panel(
            title="Switches",
            text="Models that were switched to, and that could not be.",
            queries=(Query(expr="sum by (result) (touchstone_model_switches_total)", legend="{{result}}"),),
            runbook="TouchstoneModelNotServed",
        ),
        Panel(
            title="Models in memory",
            text="On how many servers, by role.",
            queries=(
                Query(
                    expr=f"count by (model, engine, effective_dtype, role) ({CHOSEN})",
                    legend="{{role}}: {{model}} {{engine}} {{effective_dtype}}",
                ),
            ),
        ),
        Panel(
            title="Waiting in the outbox",
            text="Exchanges that wait for the log's database to come back.",
            queries=(Query(expr=gauge("outbox_exchanges", by="instance"), legend="{{instance}}"),),
            runbook="TouchstoneOutboxFilling",
        ),
    ),
)
