"""What can be said of a program by reading it: the cheap check first, as in CORE (arXiv 2309.12938, section 3)."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from typing import ClassVar

from pyflakes import checker, messages

from reranker.base import Evidence
from reranker.evidence import size_of
from reranker.extract import defines, extract, target_of
from reranker.off_loop import off_loop
from reranker.types import Candidate, Score, Task
from sandbox import MAX_SOURCE_BYTES, PARSER_ERRORS, is_python

NO_PARSE = -1000.0
NO_ENTRY_POINT = -500.0
MAX_PENALTY = 400.0
"""However much is wrong with it, a program that could answer stands before one that cannot."""

_FATAL = 10.0
_SUSPECT = 1.0
_UNTIDY = 0.1
_PENALTIES: dict[type[messages.Message], float] = {
    messages.UndefinedName: _FATAL,
    messages.UndefinedLocal: _FATAL,
    messages.ReturnOutsideFunction: _FATAL,
    messages.YieldOutsideFunction: _FATAL,
    messages.ContinueOutsideLoop: _FATAL,
    messages.BreakOutsideLoop: _FATAL,
    messages.DefaultExceptNotLast: _FATAL,
    messages.TwoStarredExpressions: _FATAL,
    messages.UnusedImport: _UNTIDY,
    messages.FStringMissingPlaceholders: _UNTIDY,
    messages.ImportStarUsed: _UNTIDY,
    messages.ImportStarUsage: _UNTIDY,
}
"""What a message of pyflakes costs; any other, such as a variable never read, is suspect."""


class StaticScorer:
    """0 for a program without a remark; less what pyflakes says of it, an undefined name far more than an unused
    import; less than any of these where the entry point is missing, and least where it does not parse.

    Many are equal: likelihood decides among them (`select.order`), CORE's learned ranker behind its checks. It reads
    the program that the sandbox would run.
    """

    needs: ClassVar[frozenset[Evidence]] = frozenset()

    async def score(self, task: Task, candidates: Sequence[Candidate]) -> list[Score]:
        """See `Scorer.score`."""
        if not is_python(task.language):
            return [Score(None, f"cannot read {task.language}")] * len(candidates)
        size = size_of(candidates) + len(task.prefix) * len(candidates)
        return await off_loop(lambda: [_score(task, candidate.text) for candidate in candidates], size=size)


def _score(task: Task, text: str) -> Score:
    source = extract(task, text).program.source
    if len(source.encode("utf-8", "surrogatepass")) > MAX_SOURCE_BYTES:
        return Score(None, "too large to read")
    try:
        tree = ast.parse(source)
    except PARSER_ERRORS:
        return Score(NO_PARSE)
    if not task.whole and not defines(tree, target_of(task)):
        return Score(NO_ENTRY_POINT)
    try:
        found = checker.Checker(tree, filename="<candidate>").messages
    except PARSER_ERRORS:
        return Score(None, "nested too deep to read")
    return Score(-min(MAX_PENALTY, sum(_PENALTIES.get(type(message), _SUSPECT) for message in found)))
