"""The numbers of the ladder, by hand."""

import pytest

from sandbox import ProgramClass
from trainer.groups import Response, is_desirable, judged, place, score_of
from trainer.groups.ladder import of_counts, of_rating


@pytest.mark.parametrize(
    ("program_class", "fraction", "score"),
    [
        (ProgramClass.SYNTAX_ERROR, 0.0, -1.0),
        (ProgramClass.RUNTIME_ERROR, 0.0, -0.6),
        (ProgramClass.PARTIAL, 0.0, -0.3),
        (ProgramClass.PARTIAL, 0.5, 0.0),
        (ProgramClass.PARTIAL, 0.75, 0.15),
        (ProgramClass.PASS, 1.0, 1.0),
        (ProgramClass.PARTIAL, None, -0.3),
    ],
)
def test_a_class_and_its_fraction(program_class: ProgramClass, fraction: float | None, score: float) -> None:
    assert judged(program_class, fraction) == pytest.approx(score)


def test_who_is_not_the_student_is_above_it_and_below_the_next_class() -> None:
    for lower, higher in zip(ProgramClass, list(ProgramClass)[1:], strict=False):
        student, teacher = (score_of(lower, 0.0, source=source) for source in ("student", "teacher"))
        above = score_of(higher, 0.0, source="student")
        assert student is not None
        assert teacher is not None
        assert above is not None
        assert student < teacher < above
        assert place(lower) < place(higher)
    assert score_of(ProgramClass.PASS, 1.0, source="user") == 1.05


def test_words_count_where_no_suite_judged_and_only_break_ties_where_one_did() -> None:
    assert score_of(None, None, said="accept", words=0.5) == 0.5
    assert score_of(None, None) is None
    assert score_of(ProgramClass.PASS, 1.0, said="reject", words=-0.5) == pytest.approx(0.98)
    assert score_of(ProgramClass.RUNTIME_ERROR, 0.0, said="accept", words=0.5) == pytest.approx(-0.58)


def test_a_clients_own_tests_and_ratings_have_a_worth() -> None:
    assert of_counts({"passed": 0, "failed": 0}) is None
    assert of_counts({"passed": 3, "failed": 0}) == 1.0
    assert of_counts({"passed": 1, "failed": 3}) == pytest.approx(-0.15)
    assert [of_rating(value, (1, 5)) for value in (0, 1, 3, 5, 9)] == [-0.5, -0.5, 0.0, 0.5, 0.5]


def test_what_is_desirable() -> None:
    def response(program_class: ProgramClass | None, score: float | None) -> Response:
        return Response(text="", ended=True, program_class=program_class, fraction=None, score=score, source="student")

    assert is_desirable(response(ProgramClass.PASS, 0.98))
    assert not is_desirable(response(ProgramClass.PARTIAL, 0.3))
    assert is_desirable(response(None, 0.5))
    assert not is_desirable(response(None, -0.2))
    assert not is_desirable(response(None, None))
