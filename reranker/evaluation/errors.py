"""What goes wrong in evaluation.

EvaluationError
    UnknownSuite          no file, bundled name or data set answers to the name
    InvalidProblem        a field of a problem does not hold what it must
    UnsupportedProblem    a well-formed problem that cannot be run here
"""

from __future__ import annotations


class EvaluationError(Exception):
    """Any failure of evaluation that is not a candidate's."""


class UnknownSuite(EvaluationError):
    """There is no suite of that name; the message says which there are or how to get it."""


class InvalidProblem(EvaluationError):
    """A field of a problem is wrong. `where` is the file and line, empty when it was made in memory."""

    def __init__(self, field: str, fault: str, where: str = "") -> None:
        super().__init__(": ".join(filter(None, (where, f"`{field}` {fault}" if field else fault))))
        self.field, self.fault, self.where = field, fault, where


class UnsupportedProblem(EvaluationError):
    """A problem asks for something that evaluation cannot run; named, so that it is never skipped in silence."""

    def __init__(self, task_id: str, field: str, fault: str) -> None:
        super().__init__(f"{task_id}: `{field}` {fault}")
        self.task_id, self.field = task_id, field
