"""`auto`, as it is stated."""

import pytest

from reranker.base import Evidence
from reranker.policy import auto_methods

BOTH: frozenset[Evidence] = frozenset({"tests", "inputs"})
NONE: frozenset[Evidence] = frozenset()


@pytest.mark.parametrize(
    ("checked", "evidence", "loaded", "expected"),
    [
        (None, NONE, (), ("likelihood",)),
        ("tests", NONE, (), ("tests",)),
        ("examples", BOTH, (), ("examples", "srank")),
        (None, BOTH, (), ("srank",)),
        (None, frozenset({"inputs"}), (), ("likelihood",)),
        ("examples", NONE, ("verifier",), ("examples", "verifier")),
        ("examples", BOTH, ("verifier", "features"), ("examples", "srank", "features")),
        (None, NONE, ("verifier", "features"), ("likelihood",)),
        ("tests", NONE, ("discriminator",), ("tests",)),
    ],
)
def test_what_decides_and_after_it(
    checked: str | None, evidence: frozenset[Evidence], loaded: tuple[str, ...], expected: tuple[str, ...]
) -> None:
    assert auto_methods(checked=checked, evidence=evidence, loaded=loaded) == expected
