from __future__ import annotations

from sandbox.recent import Recent


def test_keeps_what_was_used_last() -> None:
    recent: Recent[str, int] = Recent(2)
    recent.put("a", 1)
    recent.put("b", 2)
    assert recent.get("a") == 1
    recent.put("c", 3)
    assert (recent.get("a"), recent.get("b"), recent.get("c"), len(recent)) == (1, None, 3, 2)


def test_makes_what_is_missing_once() -> None:
    recent: Recent[str, list[int]] = Recent(2)
    first = recent.get_or_make("a", list)
    assert recent.get_or_make("a", list) is first
