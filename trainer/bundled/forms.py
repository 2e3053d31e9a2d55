"""The usual loops, written out as the implementations of a step from one condition or expression over `v`."""

from collections.abc import Callable


def _keep(condition: str) -> list[str]:
    return [
        f"[v for v in X if {condition}]",
        f"OUT = []\nfor v in X:\n    if {condition}:\n        OUT.append(v)",
        f"list(filter(lambda v: {condition}, X))",
    ]


def _each(expression: str) -> list[str]:
    return [
        f"[{expression} for v in X]",
        f"OUT = []\nfor v in X:\n    OUT.append({expression})",
        f"list(map(lambda v: {expression}, X))",
    ]


def _tally(condition: str) -> list[str]:
    return [
        f"sum(1 for v in X if {condition})",
        f"OUT = 0\nfor v in X:\n    if {condition}:\n        OUT += 1",
        f"len([v for v in X if {condition}])",
    ]


def _some(condition: str) -> list[str]:
    return [
        f"any({condition} for v in X)",
        f"for v in X:\n    if {condition}:\n        return True\nreturn False",
    ]


def _keep_letters(condition: str) -> list[str]:
    return [
        f'"".join(v for v in X if {condition})',
        f'OUT = ""\nfor v in X:\n    if {condition}:\n        OUT += v',
        f'"".join([v for v in X if {condition}])',
    ]


FORMS: dict[str, Callable[[str], list[str]]] = {
    "keep": _keep,
    "each": _each,
    "tally": _tally,
    "some": _some,
    "keep_letters": _keep_letters,
}
"""Name of a form in the step tables -> its implementations."""


def every(condition: str, negation: str) -> list[str]:
    """Whether a condition holds for all items, given it and its negation."""
    return [
        f"all({condition} for v in X)",
        f"for v in X:\n    if {negation}:\n        return False\nreturn True",
    ]
