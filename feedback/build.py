"""From a `Ranking` to the record of it, and from the record back to the task. Pure.

What was not run stays None. A number that is not one (NaN) becomes None: it measures nothing, and databases disagree
on it. Infinities are kept.
"""

from __future__ import annotations

from dataclasses import is_dataclass, replace
from datetime import datetime
from enum import Enum
from functools import lru_cache
from typing import Any, cast

from engine import FinishReason, TokenLogprob
from feedback.errors import InvalidExchange
from feedback.fields import fields_of
from feedback.prompts import prompt_from_data, prompt_hash, prompt_to_data
from feedback.suites import suite_from_data, suite_to_data, trials_from_data, trials_to_data
from feedback.types import Exchange, Purpose, StoredCandidate, TestCounts
from reranker import Candidate, Options, Ranking, Task
from sandbox import Outcome, Status, TestOutcome


def exchange_from(
    ranking: Ranking,
    *,
    id: str,  # noqa: A002
    created_at: datetime,
    route: str,
    purpose: Purpose,
    key_id: str | None,
    session_id: str | None,
    model: str,
    round: int,  # noqa: A002
    engine: str,
    dtype: str,
    config_hash: str,
    shadow_of: str | None = None,
) -> Exchange:
    """The record of one API call; of a shadow no choice was shown.

    Raises `InvalidExchange` for a suite whose values are not plain data.
    """
    prompt = prompt_to_data(ranking.task.prompt)
    return Exchange(
        id=id,
        created_at=created_at,
        route=route,
        purpose=purpose,
        key_id=key_id,
        session_id=session_id,
        model=model,
        round=round,
        engine=engine,
        dtype=dtype,
        config_hash=config_hash,
        prompt=prompt,
        prompt_hash=prompt_hash(prompt),
        task=_task(ranking.task, prompt),
        options=dict(_options(ranking.options)),
        suite=None if ranking.suite is None else suite_to_data(ranking.suite),
        trials=None if ranking.task.trials is None else trials_to_data(ranking.task.trials),
        method=ranking.method,
        status=ranking.status,
        reason=ranking.reason,
        prompt_tokens=ranking.prompt_tokens,
        sampled_tokens=ranking.sampled_tokens,
        returned_tokens=ranking.returned_tokens,
        seed_honoured=ranking.seed_honoured,
        timings_s={
            "queue": _number(ranking.queue_s),
            "prefill": _number(ranking.prefill_s),
            "generate": _number(ranking.generate_s),
            "rerank": _number(ranking.rerank_s),
            "total": _number(ranking.total_s),
            "first_token": _number(ranking.first_token_s),
        },
        candidates=_candidates(ranking, shown=shadow_of is None),
        shadow_of=shadow_of,
    )


def task_of(exchange: Exchange) -> Task:
    """The task again, to run or score its candidates anew. The suite is the one that ran, where it was kept.

    Raises `InvalidExchange` for a record whose text was not kept.
    """
    task = task_from_data(exchange.id, exchange.prompt, exchange.task)
    suite, trials = exchange.suite, exchange.trials
    return replace(
        task,
        suite=None if suite is None or suite.get("body") is None else suite_from_data(suite),
        trials=None if trials is None or trials.get("body") is None else trials_from_data(trials),
    )


def task_from_data(id: str, prompt: dict[str, Any], parts: dict[str, Any]) -> Task:  # noqa: A002
    """The task of an exchange's `prompt` and `task`, without any suite. Raises `InvalidExchange` for no prompt."""
    return Task(
        id=id,
        prompt=prompt_from_data(prompt),
        shape=parts.get("shape", "completion"),
        prefix=_prompt_text(prompt) if parts.get("prefix") is None else parts["prefix"],
        suffix=parts.get("suffix", ""),
        entry_point=parts.get("entry_point"),
    )


def candidates_of(exchange: Exchange) -> tuple[Candidate, ...]:
    """The candidates again, by index, with the outcomes that were kept, to score them anew.

    Of the tokens only their number and mean log-probability are logged: each of them stands for the mean here. Raises
    `InvalidExchange` for an outcome that cannot be read.
    """
    deduped = exchange.options.get("dedupe") == "ast" and exchange.method != "off"
    in_order = sorted(exchange.candidates, key=lambda stored: stored.index)
    return tuple(_candidate_of(stored, deduped=deduped) for stored in in_order)


def _candidate_of(stored: StoredCandidate, *, deduped: bool) -> Candidate:
    tokens: tuple[TokenLogprob, ...] = ()
    if stored.mean_logprob and stored.sum_logprob is not None:
        tokens = (TokenLogprob(0, "", stored.mean_logprob),) * max(1, round(stored.sum_logprob / stored.mean_logprob))
    elif stored.mean_logprob is not None:
        tokens = (TokenLogprob(0, "", stored.mean_logprob),)
    return Candidate(
        index=stored.index,
        text=stored.text,
        raw_text=stored.raw_text,
        finish_reason=cast("FinishReason", stored.finish_reason),
        tokens=tokens,
        token_count=stored.token_count,
        greedy=stored.greedy,
        repairs=stored.repairs,
        duplicate_of=stored.duplicate_of,
        deduped=deduped,
        outcome=None if stored.outcome is None else _outcome_of(stored.outcome),
        trial=None if stored.trial is None else _outcome_of(stored.trial),
        generate_s=stored.generate_s,
        execute_s=stored.execute_s,
    )


def _outcome_of(data: dict[str, Any]) -> Outcome:
    try:
        tests = tuple(TestOutcome(**{**test, "status": Status(test["status"])}) for test in data["tests"])
        return Outcome(**{**data, "status": Status(data["status"]), "tests": tests})
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidExchange(f"outcome: {error!r}") from error


def without_text(exchange: Exchange) -> Exchange:
    """Hashes and numbers only, for keys whose privacy is `no_text`: no prompt, code, test, value, message, session."""
    suite = exchange.suite and {**exchange.suite, "body": None}
    trials = exchange.trials and {**exchange.trials, "body": None}
    options = {**exchange.options, "sampling": {**exchange.options.get("sampling", {}), "stop": []}}
    return replace(
        exchange,
        prompt={"kind": exchange.prompt["kind"], "no_text": True},
        task={"shape": exchange.task.get("shape", "completion")},
        options=options,
        suite=suite,
        trials=trials,
        reason="",
        session_id=None,
        candidates=tuple(
            replace(
                c,
                text="",
                raw_text="",
                score_reasons={},
                outcome=c.outcome and _without_text(c.outcome),
                trial=c.trial and _without_text(c.trial),
            )
            for c in exchange.candidates
        ),
    )


def without_verdicts(exchange: Exchange) -> Exchange:
    """Without what tests said of candidates: names, values, messages. What they came to stays."""
    kept = (replace(each, outcome=each.outcome and _without_text(each.outcome)) for each in exchange.candidates)
    return replace(exchange, candidates=tuple(kept))


def plain(value: Any) -> Any:
    """Frozen records as plain JSON data: objects, lists, text, numbers, true, false, null."""
    cls = type(value)
    if cls in _PLAIN:
        return value
    if cls is float:
        return _number(value)
    if is_dataclass(cls):
        names, values = fields_of(cls)
        pairs = zip(names, values(value), strict=True)
        return {name: each if type(each) in _PLAIN else plain(each) for name, each in pairs}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    return _number(value) if isinstance(value, float) else value


_PLAIN = frozenset({str, int, bool, type(None)})


@lru_cache(maxsize=128)
def _options(options: Options) -> dict[str, Any]:
    """Kept, because most requests ask for the same. Its values are shared: records are never changed."""
    found: dict[str, Any] = plain(options)
    return found


def _task(task: Task, prompt: dict[str, Any]) -> dict[str, Any]:
    prefix = None if task.prefix == _prompt_text(prompt) else task.prefix
    return {"shape": task.shape, "prefix": prefix, "suffix": task.suffix, "entry_point": task.entry_point}


def _prompt_text(prompt: dict[str, Any]) -> str:
    """The text that usually stands before the completion in the program, so that it is not stored twice."""
    match prompt:
        case {"text": str(text)} | {"prefix": str(text)} | {"messages": [*_, {"content": str(text)}]}:
            return text
    return ""


def _candidates(ranking: Ranking, *, shown: bool) -> tuple[StoredCandidate, ...]:
    rank_at = {position: rank for rank, position in enumerate(ranking.order)}
    returned = ranking.options.n if shown else 0
    return tuple(
        _candidate(ranking, at, candidate, rank_at[at], returned) for at, candidate in enumerate(ranking.candidates)
    )


def _candidate(ranking: Ranking, at: int, candidate: Candidate, rank: int, returned: int) -> StoredCandidate:
    outcome, scores = candidate.outcome, {method: scores[at] for method, scores in ranking.scores.items()}
    return StoredCandidate(
        index=candidate.index,
        rank=rank,
        choice=rank if rank < returned else None,
        text=candidate.text,
        raw_text=candidate.raw_text,
        finish_reason=candidate.finish_reason,
        greedy=candidate.greedy,
        token_count=candidate.token_count,
        mean_logprob=_number(candidate.mean_logprob),
        sum_logprob=_number(candidate.sum_logprob),
        duplicate_of=candidate.duplicate_of,
        scores={method: _number(score.value) for method, score in scores.items()},
        score_reasons={method: score.reason for method, score in scores.items() if score.reason},
        program_class=None if candidate.program_class is None else candidate.program_class.value,
        run_status=None if outcome is None else outcome.status.value,
        tests=None if outcome is None else _counts(outcome),
        outcome=None if outcome is None else plain(outcome),
        trial=None if candidate.trial is None else plain(candidate.trial),
        repairs=candidate.repairs,
        generate_s=_number(candidate.generate_s),
        execute_s=_number(candidate.execute_s),
    )


def _counts(outcome: Outcome) -> TestCounts:
    return TestCounts(passed=outcome.passed, failed=outcome.failed, errored=outcome.errored, not_run=outcome.not_run)


def _number(value: float | None) -> float | None:
    return None if value is None or value != value else value


def _without_text(outcome: dict[str, Any]) -> dict[str, Any]:
    spoken = {"name": "", "value": None, "exception_type": None, "exception_message": None, "stdout_tail": ""}
    return {**outcome, "message": "", "tests": [{**test, **spoken} for test in outcome["tests"]]}
