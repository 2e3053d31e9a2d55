"""The rule that ends a contest: hand-worked, then its promised error and its power by simulation."""

import math
import random
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest

from feedback import ALPHA, Observation, canary_differences, judge_contest, outcome_of, shadow_differences
from feedback.contest import BETS
from feedback.export import from_line, to_line
from tests.feedback.records import BEGIN, exchange

OLD, NEW = {"tiny:1-int8.r0"}, {"tiny:1-int8.r1"}


def seen(number: int, model: str, outcome: float | None, shadow_of: str | None = None) -> Observation:
    name = {"old": "tiny:1-int8.r0", "new": "tiny:1-int8.r1", "other": "tiny:1-int8.r7"}[model]
    return Observation(
        id=f"e{number}",
        created_at=BEGIN + timedelta(seconds=number),
        model=name,
        shadow_of=shadow_of,
        outcome=outcome,
    )


def test_evidence_is_what_a_gambler_has_by_hand() -> None:
    verdict = judge_contest([1.0, -1.0, 0.0, 0.5])
    by_hand = sum((1 + share) * (1 - share) * (1 + share / 2) for share in BETS) / len(BETS)
    against = sum((1 - share) * (1 + share) * (1 - share / 2) for share in BETS) / len(BETS)
    assert verdict.decision == "go on"
    assert verdict.e_better == pytest.approx(by_hand)
    assert verdict.e_worse == pytest.approx(against)
    assert (verdict.pairs, verdict.mean) == (4, 0.125)


def test_nothing_says_nothing() -> None:
    verdict = judge_contest([])
    assert (verdict.decision, verdict.pairs, verdict.mean) == ("go on", 0, None)
    assert verdict.e_better == pytest.approx(1.0)


@pytest.mark.parametrize(("difference", "decision"), [(1.0, "promote"), (-1.0, "refuse")])
def test_what_always_wins_or_loses_is_soon_decided(difference: float, decision: str) -> None:
    verdict = judge_contest([difference] * 100)
    assert verdict.decision == decision
    assert 5 <= verdict.pairs <= 12


def test_ties_without_end_are_no_better() -> None:
    verdict = judge_contest([0.0] * 50, most=50)
    assert (verdict.decision, verdict.reason) == ("refuse", "no better in 50 pairs")
    assert judge_contest([0.0] * 49, most=50).decision == "go on"


def test_a_difference_out_of_range_is_refused() -> None:
    for wrong in (1.5, math.nan):
        with pytest.raises(ValueError, match="between -1 and 1"):
            judge_contest([wrong])


def draws(rng: random.Random, better: float, worse: float, count: int) -> Iterator[float]:
    for _ in range(count):
        value = rng.random()
        yield 1.0 if value < better else -1.0 if value < better + worse else 0.0


@pytest.mark.parametrize("discordant", [0.05, 0.2, 1.0])
def test_of_equals_at_most_alpha_are_ever_promoted(discordant: float) -> None:
    rng, trials = random.Random(1), 400
    wrong = sum(
        judge_contest(draws(rng, discordant / 2, discordant / 2, 600), most=600).decision == "promote"
        for _ in range(trials)
    )
    assert wrong / trials <= ALPHA + 2 * math.sqrt(ALPHA * (1 - ALPHA) / trials)


def test_a_null_that_depends_on_the_past_gains_nothing() -> None:
    """After every gain the next difference is larger, its mean still 0."""
    rng, trials, wrong = random.Random(2), 600, 0
    for _ in range(trials):
        size, differences = 0.2, []
        for _ in range(300):
            differences.append(rng.choice((size, -size)))
            size = min(1.0, size * 1.5) if differences[-1] > 0 else 0.2
        wrong += judge_contest(differences).decision == "promote"
    assert wrong / trials <= ALPHA + 2 * math.sqrt(ALPHA * (1 - ALPHA) / trials)


def test_a_gain_of_ten_points_is_found() -> None:
    rng, trials = random.Random(3), 200
    verdicts = [judge_contest(draws(rng, 0.2, 0.1, 2000)) for _ in range(trials)]
    found = [verdict.pairs for verdict in verdicts if verdict.decision == "promote"]
    assert len(found) / trials >= 0.95
    assert sorted(found)[len(found) // 2] < 400


def test_shadow_pairs_are_those_that_both_answered() -> None:
    log = [
        seen(1, "old", 1.0),
        seen(2, "old", 0.0),
        seen(3, "new", 1.0, shadow_of="e2"),
        seen(4, "new", None, shadow_of="e1"),
        seen(5, "new", 0.0, shadow_of="e1"),
        seen(6, "new", 1.0, shadow_of="e1"),  # a second time counts for nothing
        seen(7, "other", 0.0),
        seen(8, "new", 1.0, shadow_of="e7"),
        seen(9, "new", 1.0),  # asked for by name
    ]
    assert list(shadow_differences(log, champion=OLD, challenger=NEW)) == [1.0, -1.0]


def test_canary_pairs_are_neighbours_in_time_each_used_once() -> None:
    log = [
        seen(1, "new", 1.0),  # nothing before it: the next one
        seen(2, "old", 0.0),
        seen(3, "old", 1.0),
        seen(4, "old", 0.0),  # nearer than the third
        seen(5, "other", 1.0),
        seen(6, "new", 0.0),
        seen(7, "new", None),
        seen(8, "new", 1.0),
        seen(9, "new", 1.0, shadow_of="e2"),
    ]
    assert list(canary_differences(log, champion=OLD, challenger=NEW)) == [1.0, 0.0]


def test_a_line_from_before_there_were_shadows_reads_as_none() -> None:
    line = to_line(exchange(1), ())
    assert '"shadow_of":null' in line
    [old] = [line.replace(',"shadow_of":null', "")]
    assert old != line
    assert from_line(old)[0].shadow_of is None
    shadow = replace(exchange(2, purpose="eval"), shadow_of="cmpl-1")
    assert from_line(to_line(shadow, ()))[0] == shadow


def test_an_outcome_is_the_tests_else_the_last_word() -> None:
    assert outcome_of("pass", [("reject", None)]) == 1.0
    assert outcome_of("partial", [("accept", None)]) == 0.0
    assert outcome_of(None, []) is None
    assert outcome_of(None, [("comment", "x"), ("accept", None)]) == 1.0
    assert outcome_of(None, [("accept", True), ("reject", None)]) == 0.0
    assert outcome_of(None, [("accept", False)]) == 0.0
    assert outcome_of(None, [("reject", False)]) == 1.0
