from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from engine.queue import FairQueue
from engine.types import Priority

entries = st.lists(st.tuples(st.sampled_from(Priority), st.sampled_from("abc")), max_size=30)


def filled(content: list[tuple[Priority, str]]) -> FairQueue[tuple[Priority, str, int]]:
    queue: FairQueue[tuple[Priority, str, int]] = FairQueue()
    for number, (priority, key) in enumerate(content):
        queue.put((priority, key, number), priority, key)
    return queue


def emptied(queue: FairQueue[tuple[Priority, str, int]]) -> list[tuple[Priority, str, int]]:
    taken = []
    while (item := queue.take()) is not None:
        taken.append(item)
    return taken


@given(entries)
def test_every_item_comes_out_once_by_priority_and_in_its_keys_order(content: list[tuple[Priority, str]]) -> None:
    queue = filled(content)
    assert len(queue) == len(list(queue)) == len(content)
    taken = emptied(queue)
    assert sorted(number for _, _, number in taken) == list(range(len(content)))
    assert [priority for priority, _, _ in taken] == sorted(priority for priority, _, _ in taken)
    for key in "abc":
        for priority in Priority:
            numbers = [number for p, k, number in taken if (p, k) == (priority, key)]
            assert numbers == sorted(numbers)


@given(entries)
def test_no_key_waits_for_two_turns_of_another(content: list[tuple[Priority, str]]) -> None:
    taken = emptied(filled(content))
    for index, (priority, key, _) in enumerate(taken):
        # Between this item and the next of its key, every key that still waits has had exactly one turn.
        later = [k for p, k, _ in taken[index + 1 :] if p == priority]
        if key in later:
            between = later[: later.index(key)]
            assert len(between) == len(set(between))
            assert set(between) == set(later) - {key} or set(later[later.index(key) :]) <= {key} | set(between)


def test_a_heavy_user_does_not_hold_up_a_light_one() -> None:
    queue = filled([(Priority.BATCH, "heavy")] * 5 + [(Priority.BATCH, "light")])
    assert [key for _, key, _ in emptied(queue)].index("light") == 1


def test_a_reserved_taker_leaves_the_rest() -> None:
    queue = filled([(Priority.INTERACTIVE, "a"), (Priority.BATCH, "a")])
    assert queue.take(Priority.AS_YOU_TYPE) is None
    assert len(queue) == 2


@given(entries, st.sets(st.integers(0, 29)), st.sampled_from(Priority))
def test_taking_what_fits_leaves_the_others_in_order(
    content: list[tuple[Priority, str]], wanted: set[int], priority: Priority
) -> None:
    queue = filled(content)
    taken = queue.take_like(priority, lambda item: item[2] in wanted)
    expected = {number for number, (p, _) in enumerate(content) if p == priority and number in wanted}
    assert {number for _, _, number in taken} == expected
    assert len(queue) == len(content) - len(expected)
    rest = emptied(queue)
    for key in "abc":
        numbers = [number for p, k, number in rest if (p, k) == (priority, key)]
        assert numbers == sorted(numbers)


@given(entries, st.sets(st.integers(0, 29)))
def test_removed_items_never_come(content: list[tuple[Priority, str]], unwanted: set[int]) -> None:
    queue = filled(content)
    removed = {number for _, _, number in queue.remove(lambda item: item[2] in unwanted)}
    assert removed == unwanted & set(range(len(content)))
    assert {number for _, _, number in emptied(queue)} == set(range(len(content))) - removed
