"""A ranking's evidence on the wire: `rerank` blocks, usage, finish reasons and headers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from engine import EngineInfo
from reranker import Candidate, Ranking
from server.translate.ask import Ask
from server.translate.names import round_of

_LOWEST_LOGPROB = -9999.0
"""What OpenAI sends for a probability of zero: JSON has no infinity."""


def finite(logprob: float) -> float:
    """A log-probability JSON can carry."""
    return logprob if logprob > _LOWEST_LOGPROB else _LOWEST_LOGPROB


def finish_reason(candidate: Candidate) -> str:
    """`stop` where the text ends by itself or at the end of the function; `length` where it was broken off."""
    if candidate.finish_reason == "stop":
        return "stop"
    cut = candidate.finish_reason == "length" and len(candidate.text) < len(candidate.raw_text)
    return "stop" if cut else "length"


def choice_block(ranking: Ranking, position: int, feedback: tuple[str, int] | None) -> dict[str, Any]:
    """The `rerank` block of one choice. `feedback` names its exchange and choice where the reply's id does not."""
    candidate = ranking.candidates[position]
    outcome, cls = candidate.outcome, candidate.program_class
    mean = candidate.mean_logprob
    block: dict[str, Any] = {
        "candidate": candidate.index,
        "score": _score(ranking, ranking.method, position),
        "class": None if cls is None else cls.value,
        "tests": None
        if outcome is None
        else {
            "passed": outcome.passed,
            "failed": outcome.failed,
            "errored": outcome.errored,
            "not_run": outcome.not_run,
            "form": outcome.form,
            "tier": outcome.tier,
            "integrity": outcome.integrity,
        },
        "verifier": _score(ranking, "verifier" if "verifier" in ranking.scores else "features", position),
        "mean_logprob": None if mean is None else finite(mean),
        "tokens": len(candidate.tokens),
        "ms": {"generate": _ms(candidate.generate_s), "execute": _ms(candidate.execute_s)},
    }
    if feedback is not None:
        block["feedback_id"], block["feedback_choice"] = feedback
    return block


def _score(ranking: Ranking, method: str, position: int) -> float | None:
    scores = ranking.scores.get(method)
    return None if scores is None else scores[position].value


def rerank_block(ask: Ask, rankings: Sequence[Ranking]) -> dict[str, Any]:
    """The reply's own `rerank` block, over all prompts: numbers are summed, the weakest status is told."""
    told = max(rankings, key=lambda ranking: _WEAKNESS[ranking.status])
    block: dict[str, Any] = {"status": told.status, "method": told.method}
    if told.reason:
        block["reason"] = told.reason
    block["num_candidates"] = sum(len(ranking.candidates) for ranking in rankings)
    block["num_unique"] = sum(ranking.num_unique for ranking in rankings)
    judged = [ranking.num_passing for ranking in rankings if ranking.suite is not None]
    block["num_passing"] = sum(judged) if judged else None
    if any(ranking.options.generate_tests for ranking in rankings):
        block["num_generated_tests"] = sum(ranking.num_trials for ranking in rankings)
    if plans := [ranking.num_plans for ranking in rankings if ranking.num_plans is not None]:
        block["num_plans"] = sum(plans)
    if any(ranking.options.repair_rounds for ranking in rankings):
        block["num_repaired"] = sum(ranking.num_repaired for ranking in rankings)
    block["seed_honoured"] = seed_honoured(rankings)
    block["feedback_id"] = ask.id if ask.client.caller.is_logged else None
    return block


_WEAKNESS = {"off": 0, "complete": 1, "early_exit": 2, "deadline": 3, "degraded": 4}


def seed_honoured(rankings: Sequence[Ranking]) -> bool:
    """Whether the same request with the same seed would give the same text."""
    return all(ranking.seed_honoured for ranking in rankings)


def usage(rankings: Sequence[Ranking]) -> dict[str, Any]:
    """Token counts: `completion_tokens` is every token sampled, shown or not."""
    prompt = sum(ranking.prompt_tokens for ranking in rankings)
    sampled = sum(ranking.sampled_tokens for ranking in rankings)
    returned = sum(ranking.returned_tokens for ranking in rankings)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": sampled,
        "total_tokens": prompt + sampled,
        "completion_tokens_details": {"returned_tokens": returned, "discarded_tokens": sampled - returned},
    }


def fingerprint(info: EngineInfo, profile: str) -> str:
    """`system_fingerprint`: engine, effective dtype, round, and the profile where there is one."""
    return f"{info.engine}-{info.dtype}-r{round_of(info.model)}" + (f"+{profile}" if profile else "")


def headers(rankings: Sequence[Ranking]) -> list[tuple[str, str]]:
    """The evidence of a plain reply that fits in headers."""
    block = max(rankings, key=lambda ranking: _WEAKNESS[ranking.status])
    found = [("x-rerank-status", block.status), ("x-seed-honoured", str(seed_honoured(rankings)).lower())]
    scores = rankings[0].scores.get(rankings[0].method)
    if scores is not None and (value := scores[rankings[0].order[0]].value) is not None:
        found.append(("x-rerank-score", f"{value:.6g}"))
    found.append(("server-timing", server_timing(rankings)))
    return found


def server_timing(rankings: Sequence[Ranking]) -> str:
    """Milliseconds by stage, of the slowest prompt; `exec` is the sandbox's time summed over its candidates."""
    slowest = max(rankings, key=lambda ranking: ranking.total_s)
    first = slowest.first_token_s
    stages = {
        "queue": slowest.queue_s,
        "prefill": slowest.prefill_s,
        "decode": None if first is None else slowest.generate_s - first,
        "exec": sum(candidate.execute_s or 0.0 for candidate in slowest.candidates),
        "rerank": slowest.rerank_s,
    }
    return ", ".join(f"{name};dur={seconds * 1000:.2f}" for name, seconds in stages.items() if seconds is not None)


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 3)
