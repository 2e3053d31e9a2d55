from __future__ import annotations

import collections
import copy
import json
import math
import os
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox.compare import equal
from sandbox.inside.codec import (
    LOST,
    MAX_DEPTH,
    BadFrame,
    Unsupported,
    decode,
    dumps,
    encode,
    frame,
    loads,
    read_frame,
    short_repr,
    write_frame,
)
from sandbox.observe import fingerprint

relaxed = settings(deadline=None, database=None)  # shared machines, and folders that may be read-only

scalars: st.SearchStrategy[Any] = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=2**3000, max_value=2**3001)
    | st.floats()
    | st.complex_numbers()
    | st.text()
    | st.characters(categories=["Cs"])
    | st.binary()
)
hashable: st.SearchStrategy[Any] = st.recursive(
    scalars, lambda inner: st.tuples(inner, inner) | st.frozensets(inner, max_size=4), max_leaves=6
)
factories: st.SearchStrategy[Any] = st.sampled_from([None, int, str, list, dict, set])
values: st.SearchStrategy[Any] = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner, inner)
        | st.dictionaries(hashable, inner, max_size=4)
        | st.dictionaries(hashable, inner, max_size=4).map(collections.Counter)
        | st.dictionaries(hashable, inner, max_size=4).map(collections.OrderedDict)
        | st.builds(collections.defaultdict, factories, st.dictionaries(hashable, inner, max_size=4))
        | st.sets(hashable, max_size=4)
        | st.frozensets(hashable, max_size=4)
    ),
    max_leaves=12,
)
json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ifbcdktszxy"), inner, max_size=2),
    max_leaves=10,
)


def shown(value: Any) -> str:
    """A text that tells types, signs of zero and nan apart, and not the order of a set."""
    if isinstance(value, dict):
        items = ",".join(f"{shown(key)}:{shown(item)}" for key, item in value.items())
        return f"{type(value).__name__}({getattr(value, 'default_factory', '')}, {items})"
    if isinstance(value, list | tuple):
        return type(value).__name__ + "(" + ",".join(map(shown, value)) + ")"
    if isinstance(value, set | frozenset):
        return type(value).__name__ + "(" + ",".join(sorted(map(shown, value))) + ")"
    return type(value).__name__ + (hex(value) if type(value) is int else repr(value))


@relaxed
@given(values)
def test_plain_data_comes_back_as_it_was(value: Any) -> None:
    assert shown(decode(loads(dumps({"v": encode(value)}))["v"])) == shown(value)


@relaxed
@given(json_values)
def test_decoding_gives_plain_data_or_refuses(data: Any) -> None:
    try:
        value = decode(data)
    except BadFrame:
        return
    encode(value)


@relaxed
@given(st.binary(max_size=300))
def test_noise_is_refused_or_an_object(raw: bytes) -> None:
    try:
        message = loads(raw)
    except BadFrame:
        return
    assert type(message) is dict


@relaxed
@given(st.recursive(st.just([]), lambda inner: st.lists(inner, min_size=1, max_size=1), max_leaves=1))
def test_nested_lists_cross(value: list[Any]) -> None:
    assert decode(encode(value)) == value


class Sly(int):
    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = int.__hash__


class SlyCounter(collections.Counter[str]):
    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = None  # type: ignore[assignment]


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    "value",
    [
        Sly(1),
        [Sly(1)],
        {"a": (Sly(1),)},
        SlyCounter("a"),
        collections.deque(),
        object(),
        int,
        len,
        range(3),
        bytearray(b"a"),
        (item for item in "ab"),
        nested(MAX_DEPTH + 1),
    ],
    ids=lambda value: type(value).__name__,
)
def test_nothing_else_crosses(value: Any) -> None:
    with pytest.raises(Unsupported):
        encode(value)


def test_a_factory_that_is_no_builtin_type_stays_behind_and_asking_for_it_is_remembered() -> None:
    first = decode(encode(collections.defaultdict(lambda: 7, a=1)))
    copied = copy.deepcopy(decode(encode(first)))
    LOST.asked = False
    assert (type(copied), copied, copied.get("z"), LOST.asked) == (collections.defaultdict, {"a": 1}, None, False)
    with pytest.raises(Unsupported):
        copied["z"]
    assert LOST.asked
    assert "z" not in copied


@pytest.mark.parametrize(
    "data",
    [
        *(1.5, {}, {"f": 1}, {"f": "x"}, {"i": "1" * 10 + "z"}, {"b": "0"}, {"d": [[1]]}, {"d": [[[], 1]]}),
        *({"s": [[]]}, {"c": ["0x0p+0"]}, {"q": []}, {"t": 3}, {"t": [], "s": []}, {"f": "0x1p99999"}),
        *({"k": []}, {"k": ["dict", None, []]}, {"k": ["Counter", "int", []]}, {"k": ["defaultdict", "eval", []]}),
        *({"k": [["Counter"], None, []]}, {"k": ["defaultdict", ["int"], []]}, {"k": ["Counter", None, [[1]]]}),
        nested(MAX_DEPTH + 2),
    ],
    ids=lambda data: json.dumps(data)[:30],
)
def test_malformed_data_is_refused(data: Any) -> None:
    with pytest.raises(BadFrame):
        decode(data)


@pytest.mark.parametrize("tag", ["s", "z", "d", "k"])
@pytest.mark.parametrize("distinct", [0, 30_001])
def test_keys_chosen_to_collide_are_refused_at_once(tag: str, distinct: int) -> None:
    keys = [{"i": hex(n * (2**61 - 1))} for n in range(30_000)] + [{"i": hex(n)} for n in range(1, distinct)]
    pairs = [[key, 0] for key in keys]
    body = {"d": pairs, "k": ["Counter", None, pairs]}.get(tag, keys)
    started = time.process_time()
    with pytest.raises(BadFrame, match="collide"):
        decode({tag: body})
    assert time.process_time() - started < 2


@pytest.mark.parametrize(
    "raw",
    [b"", b"[1]", b"1", b'{"a":NaN}', b'{"a":1.0}', b'{"a":' + b"1" * 5000 + b"}", b"[" * 100_000, b'{"a":"\xff"}'],
    ids=lambda raw: repr(raw[:12]),
)
def test_malformed_messages_are_refused(raw: bytes) -> None:
    with pytest.raises(BadFrame):
        loads(raw)


@relaxed
@given(st.lists(st.dictionaries(st.text(max_size=3), st.text()), max_size=4))
def test_frames_keep_their_bounds(messages: list[dict[str, str]]) -> None:
    reader, writer = os.pipe()
    try:
        for message in messages:
            write_frame(writer, message)
        os.write(writer, frame({"cut": "off"})[:-1])
        os.close(writer)
        assert [read_frame(reader) for _ in messages] == messages
        assert read_frame(reader) is None
    finally:
        os.close(reader)


def test_a_frame_over_its_cap_is_refused_before_it_is_read() -> None:
    reader, writer = os.pipe()
    os.write(writer, (2**31).to_bytes(4, "big"))
    with pytest.raises(BadFrame):
        read_frame(reader, 1000)
    os.close(reader)
    os.close(writer)


@pytest.mark.parametrize("value", [10**10_000, [10**10_000], "x" * 10_000, nested(50), math.nan], ids=list("abcde"))
def test_any_value_has_a_short_text(value: Any) -> None:
    assert 0 < len(short_repr(value)) <= 200


@relaxed
@given(values)
def test_every_value_without_nan_equals_itself(value: Any) -> None:
    expected = "nan" not in repr(value)
    copy = decode(encode(value))
    assert equal(copy, value) or not expected
    assert equal(copy, value, 1e-9) or not expected


@pytest.mark.parametrize(
    ("got", "expected", "tolerance", "right"),
    [
        (1.0, 1, None, True),
        (True, 1, None, True),
        ([1], (1,), None, False),
        (1.05, 1.0, 0.1, True),
        (1.2, 1.0, 0.1, False),
        ([(1.05, "a")], [(1.0, "a")], 0.1, True),
        ({"k": [1.05]}, {"k": [1.0]}, 0.1, True),
        (collections.Counter(k=1), {"k": 1.0}, 0.1, True),
        ({"k": 1.0, "l": 1.0}, {"k": 1.0}, 0.1, False),
        (collections.OrderedDict(a=1, b=2), collections.OrderedDict(b=2, a=1), None, False),
        (collections.OrderedDict(a=1, b=2), collections.OrderedDict(b=2, a=1), 0.1, False),
        (collections.OrderedDict(a=1, b=2.05), collections.OrderedDict(a=1, b=2), 0.1, True),
        (collections.OrderedDict(a=1, b=2), {"b": 2, "a": 1}, 0.1, True),
        (collections.Counter(a=0), collections.Counter(), None, True),
        (collections.Counter(a=0), collections.Counter(), 0.1, True),
        (collections.Counter(a=1), collections.Counter(), 0.1, False),
        (collections.Counter(a=0), {}, 0.1, False),
        ([1.0], [1.0, 1.0], 0.1, False),
        ([1.0], (1.0,), 0.1, False),
        (True, 1.0, 0.1, False),
        (math.inf, math.inf, 0.1, True),
        (math.nan, math.nan, 0.1, False),
        (10**400, 1.5, 0.1, False),
        ("a", "a", 0.1, True),
    ],
)
def test_compares(got: Any, expected: Any, tolerance: float | None, right: bool) -> None:
    assert equal(got, expected, tolerance) is right


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (0j, complex(-0.0, -0.0), True),
        (1 + 0j, complex(1, -0.0), True),
        (1j, 1 + 0j, False),
        (collections.Counter(a=0, b=1), collections.Counter(b=1), True),
        (collections.Counter(a=1), collections.Counter(a=2), False),
        (collections.Counter(a=1), {"a": 1}, False),
        ({"a": 0}, {}, False),
    ],
)
def test_equal_values_have_one_fingerprint(one: Any, other: Any, same: bool) -> None:
    assert (fingerprint(one) == fingerprint(other)) is same
