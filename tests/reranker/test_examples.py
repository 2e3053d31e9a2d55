"""The layouts of examples that prompts show, each read without being evaluated."""

import pytest

from reranker import find_examples
from reranker.examples import called_in_examples


def suite_of(doc: str, name: str = "f") -> list[tuple[tuple[object, ...], object]]:
    suite = find_examples(f'def {name}(x, y=0):\n    """Do it.\n{doc}\n    """\n', name)
    return [] if suite is None else [(call.args, call.expected) for call in suite.calls]


@pytest.mark.parametrize(
    "doc",
    [
        "    >>> f([1, 2])\n    3",
        "    >>> f([1, 2]) == 3",
        "    f([1, 2]) == 3",
        "    f([1, 2]) ==> 3",
        "    f([1, 2]) => 3",
        "    f([1, 2]) -> 3",
        "    f([1, 2]) ➞ 3",
        "    f([1, 2])  # returns 3",
        "    f([1, 2]) returns 3",
        "    f([1, 2]) should return 3.",
        "    For example, f([1, 2]) returns 3 because 1 + 2 = 3.",
        "    * f([1, 2]) == 3  # the sum",
        "    assert f([1, 2]) == 3",
        "    `f([1, 2]) -> 3`",
    ],
)
def test_a_layout_is_read(doc: str) -> None:
    expected = [] if "`" in doc else [(([1, 2],), 3)]
    assert suite_of(doc) == expected


def test_several_examples_in_order_without_repeats() -> None:
    shown = "    >>> f('a (b')\n    'x'\n"
    doc = f"{shown}{shown}    >>> f('c', y=2)\n    ['p',\n     'q']\n\n    f(7) -> None"
    assert suite_of(doc) == [(("a (b",), "x"), (("c",), ["p", "q"]), ((7,), None)]


@pytest.mark.parametrize(
    "doc",
    [
        "    >>> f(g(1))\n    2",
        "    >>> f(__import__('os').system('id'))\n    0",
        "    >>> f(1)\n    <object at 0x7f>",
        "    f(x) returns y",
        "    >>> other(1)\n    2",
        "    >>> obj.f(1)\n    2",
        "    >>> f(1",
        "    f(*[1]) == 2",
    ],
)
def test_what_is_not_a_literal_call_of_the_function_is_left_out(doc: str) -> None:
    assert suite_of(doc) == []


def test_words_of_other_languages_are_understood() -> None:
    assert suite_of("    f(1) => true\n    f(2) => false.\n    f(3) -> null") == [
        ((1,), True),
        ((2,), False),
        ((3,), None),
    ]


def test_a_return_annotation_is_no_example() -> None:
    assert find_examples("def f() -> None:\n    '''Nothing.'''\n", "f") is None


def test_floats_are_compared_with_a_tolerance() -> None:
    suite = find_examples("def f(x):\n    '''\n    >>> f(3)\n    0.3333333\n    '''\n", "f")
    assert suite is not None
    assert suite.visible
    assert suite.calls[0].tolerance == 1e-6


@pytest.mark.parametrize(
    ("request_text", "name"),
    [
        ("Add up the even numbers.\n>>> total([1, 2, 4])\n6", "total"),
        ("Add up the even numbers: print(total([1])) shows 0.\nassert total([1, 2, 4]) == 6", "total"),
        ("Like this:\n- total([1, 2, 4]) == 6\n- total([]) -> 0", "total"),
        (">>> print(total([1, 2, 4]))\n6\n>>> total([1, 2, 4])\n6", "total"),
        ("Add up the even numbers (all of them) == 6", None),
        (">>> total(numbers)\n6", None),
    ],
)
def test_a_request_in_words_names_its_function_by_its_examples(request_text: str, name: str | None) -> None:
    assert called_in_examples(request_text) == name
