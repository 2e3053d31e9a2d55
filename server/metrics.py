"""The server's metrics: the only module that knows Prometheus. Own registry; labels from small fixed sets only.

Lower packages return their measurements in rankings and outcomes; here they become numbers to scrape. Memory is read
when it is scraped, never on a request's way.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from engine import EngineInfo, EngineStats
from feedback import Verdict
from reranker import Ranking
from sandbox import PoolStats, ProgramClass
from server.memory import MemoryCollector
from server.pool_metrics import PoolCollector
from server.translate.names import round_of

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 60)
_PER_TOKEN = (0.0005, 0.001, 0.002, 0.004, 0.006, 0.008, 0.01, 0.015, 0.02, 0.03, 0.05, 0.1, 0.25, 1)
_COUNTS = (0, 1, 2, 4, 8, 16, 32, 64)


class Metrics:
    """Every metric of one process."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry(auto_describe=True)

        def histogram(
            name: str, text: str, labels: Iterable[str] = (), buckets: Iterable[float] = _SECONDS
        ) -> Histogram:
            return Histogram(f"touchstone_{name}", text, labels, buckets=tuple(buckets), registry=registry)

        def counter(name: str, text: str, labels: Iterable[str] = ()) -> Counter:
            return Counter(f"touchstone_{name}", text, labels, registry=registry)

        self._request = histogram("request_duration_seconds", "From request to last byte.", ("route", "status"))
        self._first = histogram("time_to_first_token_seconds", "From request to first sampled token.")
        self._token = histogram("time_per_output_token_seconds", "Per request, after its first token.", (), _PER_TOKEN)
        self._queue = histogram("queue_time_seconds", "In the engine's waiting queue.")
        self._prefill = histogram("prefill_time_seconds", "Computing the prompt.")
        self._decode = histogram("decode_time_seconds", "From first to last sampled token.")
        self._prompt = counter("prompt_tokens", "Prompt tokens.")
        self._generated = counter("generation_tokens", "Sampled tokens.", ("kind",))
        self._cancelled = counter(
            "cancelled", "Requests stopped: their client went away, cancelled or typed on.", ("stage",)
        )
        text = "From a request's stop to the end of all its work."
        self._cancelling = histogram("cancel_latency_seconds", text)
        self._requests = counter("rerank_requests", "Rankings.", ("method", "status"))
        self._stage = histogram("rerank_duration_seconds", "Where the time of a ranking went.", ("stage",))
        self._candidates = histogram("rerank_candidates", "Candidates a ranking.", ("kind",), _COUNTS)
        self._gain = counter("rerank_gain", "What reranking changed, where tests ran.", ("outcome",))
        self._runs = counter("sandbox_runs", "Programs run, and runs that did not come about.", ("result", "tier"))
        self._run = histogram("sandbox_duration_seconds", "One program's run.")
        self._feedback = counter("feedback", "Signals stored.", ("type", "source"))
        self._shown = counter("suggestions_shown", "Views that editors told of.")
        self._accepted = counter("suggestions_accepted", "Answers that were accepted.")
        self._running = Gauge("touchstone_requests_running", "Requests the engine works on.", registry=registry)
        text = "Candidates the engine decodes at this moment."
        self._rows = Gauge("touchstone_batch_size", text, registry=registry)
        self._waiting = Gauge("touchstone_requests_waiting", "Requests in the engine's queue.", registry=registry)
        labels = ("model", "engine", "effective_dtype", "round", "role")
        self._model = Gauge("touchstone_model_info", "A model in memory.", labels, registry=registry)
        self._answers = counter("answers", "Rankings that were answered with.", ("round", "role", "outcome"))
        self._switches = counter("model_switches", "Models switched to, or not.", ("result",))
        self._shadows = counter("shadow_requests", "Requests that a challenger answered unseen, or not.", ("result",))
        text = "What a challenger's contest has come to; decided where e reaches 1/alpha."
        self._contest = Gauge("touchstone_contest", text, ("model", "round", "of"), registry=registry)
        text = "The isolation of untrusted code; none where there is no sandbox."
        self._isolation = Gauge("touchstone_sandbox_info", text, ("tier",), registry=registry)
        text = "Exchanges that wait in the outbox for the log's database to come back."
        self._outbox = Gauge("touchstone_outbox_exchanges", text, registry=registry)
        self._pool = PoolCollector()
        registry.register(self._pool)
        registry.register(MemoryCollector())

    def request(self, route: str, status: int, seconds: float) -> None:
        """One HTTP request was answered. `route` is a pattern, never a path."""
        self._request.labels(route, str(status)).observe(seconds)

    def cancelled(self, stage: str) -> None:
        """A request was stopped in `queue`, `decode` or `rerank`."""
        self._cancelled.labels(stage).inc()

    def cancel_latency(self, seconds: float) -> None:
        """A stopped request has let go of engine, sandbox and verifier."""
        self._cancelling.observe(seconds)

    def feedback(self, kind: str, source: str) -> None:
        """A signal was stored."""
        self._feedback.labels(kind, source).inc()
        if kind == "accept":
            self._accepted.inc()

    def shown(self) -> None:
        """An editor showed an answer to somebody."""
        self._shown.inc()

    def models(self, served: Iterable[tuple[str, EngineInfo]]) -> None:
        """Say which models are in memory now, each with its role."""
        self._model.clear()
        for role, info in served:
            self._model.labels(info.model, info.engine, info.dtype, str(round_of(info.model)), role).set(1)

    def answered(self, ranking: Ranking, round: int, role: str) -> None:  # noqa: A002 - the label's own word
        """A user was answered with this ranking by the model of this round."""
        found = ranking.candidates[ranking.order[0]].program_class
        outcome = "untested" if found is None else "pass" if found is ProgramClass.PASS else "fail"
        self._answers.labels(str(round), role, outcome).inc()

    def switched(self, result: str) -> None:
        """A switch was `done`, or a model `failed` to be served."""
        self._switches.labels(result).inc()

    def shadowed(self, result: str) -> None:
        """A shadow was `done`, `failed`, or `dropped` because others were under way."""
        self._shadows.labels(result).inc()

    def contest(self, model: str, verdict: Verdict | None) -> None:
        """What a challenger's contest says so far; None: there is none."""
        self._contest.clear()
        if verdict is not None:
            labels = (model, str(round_of(model)))
            self._contest.labels(*labels, "pairs").set(verdict.pairs)
            self._contest.labels(*labels, "mean").set(verdict.mean or 0.0)
            self._contest.labels(*labels, "e_better").set(verdict.e_better)
            self._contest.labels(*labels, "e_worse").set(verdict.e_worse)

    def isolation(self, tier: str | None) -> None:
        """Say which tier holds; None: none."""
        self._isolation.clear()
        self._isolation.labels(tier or "none").set(1)

    def not_judged(self, word: str) -> None:
        """A run did not come about; `word` is its `SandboxError`'s."""
        self._runs.labels(word, "").inc()

    def ranked(self, ranking: Ranking) -> None:
        """Count all that a ranking says of itself."""
        self._requests.labels(ranking.method, ranking.status).inc()
        self._queue.observe(ranking.queue_s)
        if ranking.prefill_s is not None:
            self._prefill.observe(ranking.prefill_s)
        if ranking.first_token_s is not None:
            self._first.observe(ranking.first_token_s)
            decode_s = max(0.0, ranking.generate_s - ranking.first_token_s)
            self._decode.observe(decode_s)
            longest = max(candidate.token_count for candidate in ranking.candidates)
            if longest > 1:
                self._token.observe(decode_s / (longest - 1))
        self._prompt.inc(ranking.prompt_tokens)
        returned = min(ranking.returned_tokens, ranking.sampled_tokens)  # given candidates were not sampled
        self._generated.labels("returned").inc(returned)
        self._generated.labels("discarded").inc(max(0, ranking.sampled_tokens - returned))
        if ranking.method != "off":
            self._judged(ranking)

    def _judged(self, ranking: Ranking) -> None:
        self._stage.labels("generate").observe(ranking.generate_s)
        self._stage.labels("rerank").observe(ranking.rerank_s)
        self._candidates.labels("sampled").observe(len(ranking.candidates))
        self._candidates.labels("unique").observe(ranking.num_unique)
        for word in ranking.not_judged:
            self.not_judged(word)
        executed_s = 0.0
        for candidate in ranking.candidates:
            if candidate.outcome is not None and candidate.duplicate_of is None:
                self._runs.labels(candidate.outcome.status.value, candidate.outcome.tier).inc()
                self._run.observe(candidate.execute_s or candidate.outcome.wall_s)
                executed_s += candidate.execute_s or 0.0
        if ranking.suite is None:
            return
        self._stage.labels("execute").observe(executed_s)
        self._candidates.labels("passing").observe(ranking.num_passing)
        outcome = gain(ranking)
        if outcome is not None:
            self._gain.labels(outcome).inc()

    def scrape(
        self,
        engines: Sequence[EngineStats] = (),
        pool: PoolStats | None = None,
        names: Sequence[str] = (),
        *,
        outbox: int = 0,
    ) -> bytes:
        """The exposition text, with the engines' and the sandbox's own counts of this moment.

        `names`: of these samples alone, which spares the work for the others; of an empty one, all. `outbox`: the
        exchanges that wait in it.
        """
        self._pool.stats = pool
        self._outbox.set(outbox)
        self._running.set(sum(stats.requests_running for stats in engines))
        self._rows.set(sum(stats.rows_running for stats in engines))
        self._waiting.set(sum(stats.requests_waiting for stats in engines))
        return generate_latest(self.registry.restricted_registry(names) if names else self.registry)


def gain(ranking: Ranking) -> str | None:
    """What reranking changed against taking the first candidate; None where the first one was not run."""
    first = ranking.candidates[0]
    if first.program_class is ProgramClass.PASS:
        return "first_ok"
    if first.outcome is None:
        return None
    return "rescued" if ranking.num_passing else "none_ok"
