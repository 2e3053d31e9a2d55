"""The fourth row: what reranking does, what it costs, and how its judges are."""

from __future__ import annotations

from deploy.monitoring.panels import Panel, Query, Row, gauge, mean, quantile, ratio, share, total

_RUNS = total("sandbox_runs_total")
_NOT_RUN = total("sandbox_runs_total", 'tier=""')
_JUDGED = 'label=~"pass|fail"'
_ALL = total("rerank_requests_total", 'method!="off"')

RERANKING = Row(
    title="Reranking",
    panels=(
        Panel(
            title="Rankings",
            text="A second, by what decided and how it ended. `degraded`: the judge failed and likelihood decided.",
            queries=(Query(expr=total("rerank_requests_total", by="method, status"), legend="{{method}} {{status}}"),),
            unit="reqps",
        ),
        Panel(
            title="Candidates a ranking",
            text="Sampled, of these different programs, of these passing: means.",
            queries=(Query(expr=mean("rerank_candidates", by="kind"), legend="{{kind}}"),),
        ),
        Panel(
            title="What reranking changed",
            text="Answers that were tested, a second: the first candidate was good, another was found, none passes.",
            queries=(Query(expr=total("rerank_gain_total", by="outcome"), legend="{{outcome}}"),),
            unit="reqps",
            stacked=True,
        ),
        Panel(
            title="Time of a ranking by stage, p95",
            text="`execute` is summed over candidates, which run beside each other and beside the decoding.",
            queries=(Query(expr=quantile(0.95, "rerank_duration_seconds", by="stage"), legend="{{stage}}"),),
            unit="s",
        ),
        Panel(
            title="Cut short or degraded",
            text="Of the rankings: their deadline came first, or their judge failed.",
            queries=tuple(
                Query(expr=share(total("rerank_requests_total", f'status="{status}"'), _ALL), legend=status)
                for status in ("deadline", "degraded")
            ),
            unit="percentunit",
            runbook="TouchstoneSandboxFailing",
        ),
        Panel(
            title="Discarded tokens for a rescued answer",
            text="Tokens sampled and not returned, for each answer that only reranking found.",
            queries=(
                Query(
                    expr=ratio(
                        total("generation_tokens_total", 'kind="discarded"'),
                        total("rerank_gain_total", 'outcome="rescued"'),
                    ),
                    legend="tokens",
                ),
            ),
        ),
        Panel(
            title="Sandbox results",
            text="Programs run a second, by how they ended; without a tier: runs that did not come about.",
            queries=(Query(expr=total("sandbox_runs_total", by="result, tier"), legend="{{result}} {{tier}}"),),
            unit="ops",
            stacked=True,
        ),
        Panel(
            title="Runs that did not come about",
            text="Of all. The fault of the host, not of the programs.",
            queries=(Query(expr=share(_NOT_RUN, _RUNS), legend="of all runs"),),
            unit="percentunit",
            runbook="TouchstoneSandboxFailing",
        ),
        Panel(
            title="Sandbox slots",
            text="Programs that run, places that are free, programs that wait.",
            queries=(
                Query(expr=gauge("sandbox_slots", by="state"), legend="{{state}}"),
                Query(expr=gauge("sandbox_waiting"), legend="waiting"),
            ),
        ),
        Panel(
            title="One program's run",
            text="Waiting for a slot is not in it.",
            queries=(
                Query(expr=quantile(0.5, "sandbox_duration_seconds"), legend="p50"),
                Query(expr=quantile(0.95, "sandbox_duration_seconds"), legend="p95"),
            ),
            unit="s",
        ),
        Panel(
            title="Zygotes and second tries",
            text="Zygotes started, replaced because they failed, recycled; runs tried again as the isolation failed.",
            queries=(
                Query(expr=total("sandbox_zygotes_total", by="event"), legend="{{event}}"),
                Query(expr=total("sandbox_retries_total"), legend="tried again"),
            ),
            unit="ops",
            runbook="TouchstoneSandboxFailing",
        ),
        Panel(
            title="Isolation",
            text="Which tier each server has. `none`: it does not run candidates.",
            queries=(Query(expr="count by (tier) (touchstone_sandbox_info)", legend="{{tier}}"),),
            kind="names",
            runbook="TouchstoneIsolationLost",
        ),
        *(
            Panel(
                title=f"Verifier on candidates that {label}",
                text=f"What probability of being right learned scorers gave to candidates that {label}: those that pass"
                " should lie high, those that fail low.",
                queries=(Query(expr=total("verifier_score_bucket", f'label="{label}"', by="le"), legend="{{le}}"),),
                unit="percentunit",
                kind="heatmap",
            )
            for label in ("pass", "fail")
        ),
        Panel(
            title="Verifier: said and found",
            text="The mean probability it gave to candidates that were tested, and the share of them that passed."
            " Apart: it is not calibrated for this traffic.",
            queries=(
                Query(expr=mean("verifier_score", _JUDGED, by="method"), legend="{{method}}: said"),
                Query(
                    expr=ratio(
                        total("verifier_score_count", 'label="pass"', by="method"),
                        total("verifier_score_count", _JUDGED, by="method"),
                    ),
                    legend="{{method}}: found",
                ),
            ),
            unit="percentunit",
            runbook="TouchstoneVerifierMiscalibrated",
        ),
    ),
)
