"""The server's metrics: the only module that knows Prometheus. Own registry; labels from small fixed sets only.

Lower packages return their measurements in rankings and outcomes; here they become numbers to scrape. Memory is read
when it is scraped, never on a request's way.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from functools import cache

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics import exposition as openmetrics

from engine import EngineInfo, EngineStats
from feedback import Verdict
from reranker import LEARNED, Ranking
from sandbox import PoolStats, ProgramClass
from server.loop_metrics import LoopCollector
from server.memory import MemoryCollector
from server.meters import Meters
from server.pool_metrics import PoolCollector
from server.translate.names import round_of
from server.vllm_metrics import VllmCollector

OPEN_METRICS = openmetrics.CONTENT_TYPE_LATEST
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_PER_TOKEN = (0.0005, 0.001, 0.002, 0.004, 0.006, 0.008, 0.01, 0.015, 0.02, 0.03, 0.05, 0.1, 0.25, 1)
_OVERHEAD = (0.00025, 0.0005, 0.00075, 0.001, 0.0015, 0.002, 0.003, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1)
_PROBABILITY = tuple(tenth / 10 for tenth in range(1, 11))
_COUNTS = (0, 1, 2, 4, 8, 16, 32, 64)


Exemplar = dict[str, str] | None
"""The trace of an observation, for whoever looks at a slow one; None: it has none."""


class Metrics:
    """Every metric of one process. Those that every request counts by labels keep their children at hand (`cache`):
    to be asked for them takes prometheus_client longer than to count.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry(auto_describe=True)
        self.meters = made = Meters(self.registry)
        self._serving(made)
        self._reranking(made)
        self._models(made)
        self._pool = PoolCollector()
        self.loop = LoopCollector()
        for collector in (self._pool, self.loop, MemoryCollector()):
            made.collector(collector)
        self.registry.register(VllmCollector())

    def _serving(self, made: Meters) -> None:
        histogram, counter = made.histogram, made.counter
        self._ready = made.gauge(
            "ready", "1 where `/ready` says so; 0 while loading, switching without a model, draining."
        )
        took = histogram("request_duration_seconds", "From request to last byte.", ("route", "status"))
        self._request = cache(took.labels)
        text = "Answers of 429 and 5xx by the error's code, those within a stream that had begun too."
        self._errors = cache(counter("errors", text, ("status", "code")).labels)
        text = (
            "Of a plain reply, what engine, sandbox and scorers had no part in: reading, the record on disk, writing."
        )
        self._overhead = histogram("gateway_overhead_seconds", text, (), _OVERHEAD)
        self._first = histogram("time_to_first_token_seconds", "From request to first sampled token.")
        self._token = histogram("time_per_output_token_seconds", "Per request, after its first token.", (), _PER_TOKEN)
        text = "Between two pieces of a candidate's text, a token of the later one; engines give several at once."
        self._gap = histogram("inter_token_latency_seconds", text, (), _PER_TOKEN)
        self._queue = histogram("queue_time_seconds", "In the engine's waiting queue.")
        self._prefill = histogram("prefill_time_seconds", "Computing the prompt.")
        self._decode = histogram("decode_time_seconds", "From first to last sampled token.")
        self._prompt = counter("prompt_tokens", "Prompt tokens.")
        generated = counter("generation_tokens", "Sampled tokens: `returned`, `discarded`.", ("kind",))
        self._returned, self._discarded = (generated.labels(kind) for kind in ("returned", "discarded"))
        text = "Requests stopped in `queue`, `decode` or `rerank`: their client went away, cancelled or typed on."
        self._cancelled = counter("cancelled", text, ("stage",))
        text = "From a request's stop to the end of all its work."
        self._cancelling = histogram("cancel_latency_seconds", text)
        self._running = made.gauge("requests_running", "Requests the engine works on.")
        self._rows = made.gauge("batch_size", "Candidates the engine decodes at this moment.")
        self._waiting = made.gauge("requests_waiting", "Requests in the engine's queue.")

    def _reranking(self, made: Meters) -> None:
        histogram, counter = made.histogram, made.counter
        self._requests = cache(counter("rerank_requests", "Rankings.", ("method", "status")).labels)
        text = "Where the time of a ranking went: `generate`, `execute` (summed over candidates), `rerank`."
        self._stage = histogram("rerank_duration_seconds", text, ("stage",))
        text = "Candidates a ranking: `sampled`, `unique`, `passing`."
        self._candidates = histogram("rerank_candidates", text, ("kind",), _COUNTS)
        text = "What reranking changed, where tests ran: `first_ok`, `rescued`, `none_ok`."
        self._gain = counter("rerank_gain", text, ("outcome",))
        text = "A learned scorer's probability for a candidate, which did `pass`, `fail`, or is `unknown`."
        self._score = histogram("verifier_score", text, ("method", "label"), _PROBABILITY)
        self._runs = counter("sandbox_runs", "Programs run, and runs that did not come about.", ("result", "tier"))
        self._run = histogram("sandbox_duration_seconds", "One program's run.")
        text = "The isolation of untrusted code; none where there is no sandbox."
        self._isolation = made.gauge("sandbox_info", text, ("tier",))

    def _models(self, made: Meters) -> None:
        counter = made.counter
        self._feedback = counter("feedback", "Signals stored.", ("type", "source"))
        self._shown = counter("suggestions_shown", "Views that editors told of.")
        self._accepted = counter("suggestions_accepted", "Answers that were accepted.")
        text = "What Continue's editors told, and what came of it: `joined`, `duplicate`, `not_joined`, `counted`."
        self._dev_data = counter("dev_data_events", text, ("event", "result"))
        labels = ("model", "engine", "effective_dtype", "round", "role")
        self._model = made.gauge("model_info", "A model in memory.", labels)
        text = "Rankings that were answered with: `pass`, `fail`, `untested`."
        self._answers = cache(counter("answers", text, ("round", "role", "outcome")).labels)
        self._switches = counter("model_switches", "Models switched to (`done`), or not (`failed`).", ("result",))
        for result in ("done", "failed"):
            self._switches.labels(result)  # there from the start, so that the first one is seen to be new
        text = "Requests that a challenger answered unseen: `done`, `failed`, `dropped`."
        self._shadows = counter("shadow_requests", text, ("result",))
        text = "What a challenger's contest has come to; decided where e reaches 1/alpha."
        self._contest = made.gauge("contest", text, ("model", "round", "of"))
        text = "Exchanges that wait in the outbox for the log's database to come back."
        self._outbox = made.gauge("outbox_exchanges", text)

    def request(self, route: str, status: int, seconds: float, exemplar: Exemplar = None) -> None:
        """One HTTP request was answered. `route` is a pattern, never a path."""
        self._request(route, str(status)).observe(seconds, exemplar)

    def failed(self, status: int, code: str | None) -> None:
        """A request was told of this error; what is the request's own fault is not counted."""
        if status == 429 or status >= 500:
            self._errors(str(status), code or "").inc()

    def overhead(self, seconds: float) -> None:
        """A plain reply took so long beside its ranking."""
        self._overhead.observe(seconds)

    def gap(self, seconds: float) -> None:
        """A candidate's next piece came so long after the one before, a token."""
        self._gap.observe(seconds)

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

    def dev_data(self, event: str, result: str) -> None:
        """An event of Continue's came, and was joined to an answer or not."""
        self._dev_data.labels(event, result).inc()

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
        self._answers(str(round), role, outcome).inc()

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

    def ranked(self, ranking: Ranking, exemplar: Exemplar = None) -> None:
        """Count all that a ranking says of itself."""
        self._requests(ranking.method, ranking.status).inc()
        self._queue.observe(ranking.queue_s)
        if ranking.prefill_s is not None:
            self._prefill.observe(ranking.prefill_s)
        if ranking.first_token_s is not None:
            self._first.observe(ranking.first_token_s, exemplar)
            decode_s = max(0.0, ranking.generate_s - ranking.first_token_s)
            self._decode.observe(decode_s)
            longest = max(candidate.token_count for candidate in ranking.candidates)
            if longest > 1:
                self._token.observe(decode_s / (longest - 1))
        self._prompt.inc(ranking.prompt_tokens)
        returned = min(ranking.returned_tokens, ranking.sampled_tokens)  # given candidates were not sampled
        self._returned.inc(returned)
        self._discarded.inc(max(0, ranking.sampled_tokens - returned))
        if ranking.method != "off":
            self._judged(ranking)

    def _judged(self, ranking: Ranking) -> None:
        self._stage.labels("generate").observe(ranking.generate_s)
        self._stage.labels("rerank").observe(ranking.rerank_s)
        self._candidates.labels("sampled").observe(len(ranking.candidates))
        self._candidates.labels("unique").observe(ranking.num_unique)
        for word in ranking.not_judged:
            self.not_judged(word)
        self._scored(ranking)
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

    def _scored(self, ranking: Ranking) -> None:
        for method in LEARNED:
            for candidate, score in zip(ranking.candidates, ranking.scores.get(method, ()), strict=False):
                if score.value is None:
                    continue
                found = candidate.program_class
                label = "unknown" if found is None else "pass" if found is ProgramClass.PASS else "fail"
                self._score.labels(method, label).observe(math.exp(min(0.0, score.value)))

    def scrape(
        self,
        engines: Sequence[EngineStats] = (),
        pool: PoolStats | None = None,
        names: Sequence[str] = (),
        *,
        ready: bool = False,
        outbox: int = 0,
        open_metrics: bool = False,
    ) -> bytes:
        """The exposition text, with the engines' and the sandbox's own counts of this moment.

        `names`: of these samples alone, which spares the work for the others; of an empty one, all. `open_metrics`: in
        that format, which alone has exemplars. `ready`: whether requests are taken. `outbox`: the exchanges that wait
        in it.
        """
        self._ready.set(ready)
        self._pool.stats = pool
        self._outbox.set(outbox)
        self._running.set(sum(stats.requests_running for stats in engines))
        self._rows.set(sum(stats.rows_running for stats in engines))
        self._waiting.set(sum(stats.requests_waiting for stats in engines))
        registry = self.registry.restricted_registry(names) if names else self.registry
        write: Callable[..., bytes] = openmetrics.generate_latest if open_metrics else generate_latest
        return write(registry)


def gain(ranking: Ranking) -> str | None:
    """What reranking changed against taking the first candidate; None where the first one was not run."""
    first = ranking.candidates[0]
    if first.program_class is ProgramClass.PASS:
        return "first_ok"
    if first.outcome is None:
        return None
    return "rescued" if ranking.num_passing else "none_ok"
