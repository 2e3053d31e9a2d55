"""The list of attacks itself: what it covers, and that no attack stands in it twice."""

from __future__ import annotations

from collections import Counter

from sandbox.suites import look_at
from tests.sandbox.attacks import ASSERTS, FORGERIES, HARMS, NO_PROGRAM, ROWS, STDIO_FORGERIES


def test_the_list_covers_every_row_once_or_more() -> None:
    covered = {row for attack in FORGERIES + HARMS + STDIO_FORGERIES for row in attack.rows}
    assert covered | set(NO_PROGRAM) == ROWS
    assert not covered & set(NO_PROGRAM)


def test_the_list_is_long_and_each_attack_a_different_one() -> None:
    for attacks in (FORGERIES + HARMS, STDIO_FORGERIES):
        for field in ("name", "source"):
            counted = Counter(getattr(attack, field) for attack in attacks)
            assert counted.most_common(1)[0][1] == 1
    assert len(FORGERIES + HARMS) >= 100


def test_the_assertions_are_not_run_as_calls() -> None:
    assert look_at(ASSERTS.code, "f") is None
