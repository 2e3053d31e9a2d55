"""The gate: from the evaluations of champion and challenger to yes or no, with every reason. Pure.

A challenger must solve clearly more: the lower end of the paired 95 % bootstrap interval of sampled pass@1 over all
problems evaluated has to exceed `least_gain`. It may neither have lost variety (pass@k) nor lose by quantisation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from reranker.evaluation import ORACLE, RANDOM, Estimate, Record, Report, difference
from trainer.rounds.config import GateConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """One suite, measured with both, and the challenger again in float32."""

    champion: Report
    challenger: Report
    unquantised: Report | None
    """None where the served type is no quantised one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What the gate says."""

    passed: bool
    reasons: tuple[str, ...]
    """Why not; of a challenger that passed, what it gained."""
    problems: int
    gain: Estimate | None
    """Sampled pass@1, challenger less champion, paired by problem over all suites."""
    variety: Estimate | None
    """The same of pass@k at the largest k."""
    quantised: Estimate | None
    """Sampled pass@1 of the served type less that in float32."""

    @property
    def reason(self) -> str:
        """All of it in a line."""
        return "; ".join(self.reasons)


def decide(pairs: Sequence[Pair], config: GateConfig) -> Decision:
    """Hold the challenger against the champion."""
    gain = _pooled([(pair.champion, pair.challenger) for pair in pairs], RANDOM, largest=False)
    variety = _pooled([(pair.champion, pair.challenger) for pair in pairs], ORACLE, largest=True)
    both = [(pair.unquantised, pair.challenger) for pair in pairs if pair.unquantised is not None]
    quantised = _pooled(both, RANDOM, largest=False)
    problems = sum(len(_shared(pair.champion, pair.challenger)) for pair in pairs)
    faults = _faults(problems, gain, variety, quantised, config)
    reasons = faults or ((f"pass@1 {_points(gain)} points on {problems} problems",) if gain else ())
    return Decision(
        passed=not faults, reasons=reasons, problems=problems, gain=gain, variety=variety, quantised=quantised
    )


def _faults(
    problems: int, gain: Estimate | None, variety: Estimate | None, quantised: Estimate | None, config: GateConfig
) -> tuple[str, ...]:
    faults = []
    if problems < config.least_problems or gain is None:
        faults.append(f"{problems} problems evaluated, gate.least_problems is {config.least_problems}")
        return tuple(faults)
    if gain.low <= config.least_gain:
        faults.append(
            f"pass@1 {_points(gain)} points: the lower end must exceed {100 * config.least_gain:g} (gate.least_gain)"
        )
    if variety is not None and variety.high < -config.most_lost_variety:
        faults.append(f"pass@k {_points(variety)} points: variety was lost (gate.most_lost_variety)")
    if quantised is not None and quantised.value < -config.most_lost_quantised and quantised.high < 0:
        faults.append(f"pass@1 {_points(quantised)} points against float32 (gate.most_lost_quantised)")
    return tuple(faults)


def _pooled(pairs: Sequence[tuple[Report, Report]], name: str, *, largest: bool) -> Estimate | None:
    """The paired difference over the problems of all suites together; None where nothing has the measure."""
    before, after = [], []
    for first, second in pairs:
        k = min(first.settings.ks[-1], second.settings.ks[-1]) if largest else 1
        if largest and k == 1:
            continue
        for one, other in _shared(first, second):
            values = one.value(name, k), other.value(name, k)
            if values[0] is not None and values[1] is not None:
                before.append(values[0])
                after.append(values[1])
    return difference(before, after) if before else None


def _shared(first: Report, second: Report) -> list[tuple[Record, Record]]:
    theirs = {record.task_id: record for record in second.judged}
    return [(record, theirs[record.task_id]) for record in first.judged if record.task_id in theirs]


def _points(estimate: Estimate) -> str:
    low, high = 100 * estimate.low, 100 * estimate.high
    return f"{100 * estimate.value:+.1f} [{low:+.1f}, {high:+.1f}]"
