"""Made questions for the tests of verifiers."""

from reranker import Attempt, Question
from sandbox import Outcome, Status, TestOutcome

ERROR = "IndexError"


def ran(*values: str | None, form: str = "observe", passed: tuple[bool, ...] | None = None) -> Outcome:
    """A run with these values; None raised. `passed` judges them (form `calls`)."""
    tests = tuple(
        TestOutcome(
            index=index,
            status=_status(value, None if passed is None else passed[index]),
            value=value,
            value_type=None if value is None else "str" if value.startswith("'") else "int",
            value_hash=value,
            exception_type=ERROR if value is None else None,
        )
        for index, value in enumerate(values)
    )
    whole = next((test.status for test in tests if test.status is not Status.PASSED), Status.PASSED)
    return Outcome(status=whole, tests=tests, form="calls" if passed is not None or form == "calls" else "observe")


def _status(value: str | None, passed: bool | None) -> Status:
    if value is None:
        return Status.RUNTIME_ERROR
    return Status.WRONG_ANSWER if passed is False else Status.PASSED


def question(*attempts: Attempt, weights: tuple[int, ...] = ()) -> Question:
    return Question(id="q", prompt="def f(x):\n    '''Add one.'''\n", attempts=attempts, weights=weights)
