"""What goes wrong in evaluation.

EvaluationError
    UnknownSuite          no file, bundled name or data set answers to the name
    InvalidProblem        a field of a problem does not hold what it must
    UnsupportedProblem    a well-formed problem that cannot be run here
    InvalidSetting        an option cannot be used, or not with this source; carries its name
    InvalidSamples        given completions cannot be read
    ServerFailed          the server measured answered with an error, or not at all
    IncompleteSampling    a source gave fewer samples than asked for, or a part of one; says why
    ProblemFailed         something broke while a problem was sampled or judged; names the problem
    UnreadableFile        a file of records or a report is not what it must be
    DifferentRun          a file of records belongs to another run; names what differs
    NotComparable         two reports have nothing to compare; says why
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


class InvalidSetting(EvaluationError):
    """An option of the evaluation cannot be used."""

    def __init__(self, field: str, fault: str) -> None:
        super().__init__(f"{field}: {fault}")
        self.field, self.fault = field, fault


class InvalidSamples(EvaluationError):
    """Completions that were given cannot be read."""

    def __init__(self, where: str, fault: str) -> None:
        super().__init__(f"{where}: {fault}")
        self.where, self.fault = where, fault


class ServerFailed(EvaluationError):
    """The server that is measured gave no answer that could be used."""


class IncompleteSampling(EvaluationError):
    """A problem was not sampled as asked: too few samples, or one that was broken off."""


class ProblemFailed(EvaluationError):
    """Sampling or judging a problem broke; nothing of it was recorded."""

    def __init__(self, task_id: str, reason: str) -> None:
        super().__init__(f"{task_id}: {reason}")
        self.task_id, self.reason = task_id, reason


class UnreadableFile(EvaluationError):
    """A file of records or a report cannot be read; `where` names it, and the line or the field."""

    def __init__(self, where: str, fault: str) -> None:
        super().__init__(f"{where}: {fault}")
        self.where, self.fault = where, fault


class DifferentRun(EvaluationError):
    """A file of records was begun with other settings, another suite or another model."""


class NotComparable(EvaluationError):
    """Two reports cannot be compared."""
