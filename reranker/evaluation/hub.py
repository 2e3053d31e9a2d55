"""Problems through the `datasets` library: a name on the hub, or a local folder that it can load."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reranker.evaluation.errors import UnknownSuite
from reranker.evaluation.problem import Problem
from reranker.evaluation.rows import problem_of

if TYPE_CHECKING:
    from datasets import Dataset

_SPLIT = "test"


def read_dataset(address: str) -> tuple[Problem, ...]:
    """The problems of `NAME[:SPLIT]` or `NAME:CONFIGURATION:SPLIT`; the split is `test` when none is named.

    Raises `UnknownSuite`, also when the library is not installed, and `InvalidProblem`, naming row and field.
    """
    name, *rest = address.split(":")
    if not name or len(rest) > 2 or not all(rest):
        raise UnknownSuite(f"datasets:{address}: expected datasets:NAME[:SPLIT] or datasets:NAME:CONFIGURATION:SPLIT")
    split = rest[-1] if rest else _SPLIT
    table = _load(name, rest[0] if len(rest) == 2 else None, split)
    return tuple(
        problem_of(row, f"datasets:{address}, row {number}")  # rows are numbered as in the hub's viewer
        for number, row in enumerate(table)
    )


def _load(name: str, configuration: str | None, split: str) -> Dataset:
    try:
        from datasets import load_dataset
    except ImportError as error:
        raise UnknownSuite("data sets by name need an extra: pip install 'touchstone[datasets]'") from error
    try:
        return load_dataset(name, configuration, split=split)
    except Exception as error:  # the library raises whatever its readers and the network do
        raise UnknownSuite(f"datasets cannot load {name!r}, split {split!r}: {error}") from error
