"""LEVER's rule worked by hand, what a verifier is shown, and the scorers over a scripted classifier."""

from dataclasses import replace
from math import exp, log

import pytest

from engine import EngineFailed, ScriptedClassifier, Text, TokenLogprob
from reranker import (
    INPUT_FORMAT,
    Attempt,
    Candidate,
    DiscriminatorScorer,
    InvalidVerifier,
    Task,
    TextJudge,
    Trials,
    VerifierScorer,
    combine,
    question_of,
    verifier_text,
)
from reranker.verifier.scorers import result_of
from sandbox import Input, ObserveSuite, Outcome, Status
from tests.reranker.questions import question, ran

TASK = Task(id="t", prompt=Text("def f(x):\n"), prefix="def f(x):\n")


def candidate(index: int, text: str, logprob: float | None = None, **more: object) -> Candidate:
    tokens = () if logprob is None else (TokenLogprob(1, text, logprob),)
    made = Candidate(index=index, text=text, raw_text=text, finish_reason="stop", tokens=tokens)
    return replace(made, **more)  # type: ignore[arg-type]


def test_equal_results_add_up() -> None:
    """Two programs of P_R 0.2 x 0.5 and 0.1 x 0.6 that agree beat one of 0.15 x 0.9; without the sum they do not."""
    asked = question(
        Attempt(text="a", mean_logprob=log(0.2), trial=ran("1", "2")),
        Attempt(text="b", mean_logprob=log(0.1), trial=ran("1", "2")),
        Attempt(text="c", mean_logprob=log(0.15), trial=ran("1", "3")),
    )
    summed = combine(asked, [0.5, 0.6, 0.9], aggregate=True)
    assert [exp(value) for value in summed] == pytest.approx([0.16, 0.16, 0.135])
    alone = combine(asked, [0.5, 0.6, 0.9], aggregate=False)
    assert [exp(value) for value in alone] == pytest.approx([0.1, 0.06, 0.135])


def test_failures_are_equal_to_nothing() -> None:
    asked = question(*(Attempt(text=word, mean_logprob=0.0, trial=ran("1", None)) for word in "abc"))
    assert [exp(value) for value in combine(asked, [0.2, 0.3, 0.4], aggregate=True)] == pytest.approx([0.2, 0.3, 0.4])


def test_equal_looking_values_of_other_types_differ() -> None:
    asked = question(
        Attempt(text="a", mean_logprob=0.0, trial=ran("1")), Attempt(text="b", mean_logprob=0.0, trial=ran("'1'"))
    )
    assert [exp(value) for value in combine(asked, [0.2, 0.3], aggregate=True)] == pytest.approx([0.2, 0.3])


def test_without_likelihoods_the_share_of_equal_programs_stands_in() -> None:
    asked = question(Attempt(text="a", copies=3, trial=ran("1")), Attempt(text="b", copies=1, trial=ran("2")))
    assert [exp(value) for value in combine(asked, [0.5, 1.0], aggregate=True)] == pytest.approx([0.375, 0.25])


def test_visible_results_are_compared_where_there_are_no_trials() -> None:
    shown = ran("1", passed=(True,))
    asked = question(*(Attempt(text=word, mean_logprob=0.0, outcome=shown) for word in "ab"))
    assert [exp(value) for value in combine(asked, [0.2, 0.3], aggregate=True)] == pytest.approx([0.5, 0.5])
    assert combine(question(*(Attempt(text=w, mean_logprob=0.0) for w in "ab")), [0.5, 0.5], aggregate=True)[
        0
    ] == pytest.approx(log(0.5))


def test_programs_are_counted_once() -> None:
    candidates = [
        candidate(0, "a", -1.0),
        candidate(1, " a", -2.0, duplicate_of=0),
        candidate(2, "b", -1.5),
        candidate(3, "b", -1.5),
        candidate(4, "c", finish_reason="cancelled"),
    ]
    asked, places = question_of(TASK, candidates)
    assert places == (0, 0, 1, 1, None)
    assert [(each.text, each.copies, each.mean_logprob) for each in asked.attempts] == [("a", 2, -1.0), ("b", 2, -1.5)]


def test_a_duplicate_that_comes_first_shares_the_place_of_its_original() -> None:
    asked, places = question_of(TASK, [candidate(1, "a ", duplicate_of=0), candidate(0, "a")])
    assert places == (0, 0)
    assert asked.attempts[0].copies == 2


async def test_the_scorer_gives_every_candidate_its_programs_value() -> None:
    classifier = ScriptedClassifier({"aa": 0.5, "bb": 0.25})
    suite = ObserveSuite((Input(function="f", args=(1,)),))
    task = replace(TASK, trials=Trials(suite=suite, weights=(1,)))
    candidates = [
        candidate(0, "aa", log(0.5), trial=ran("1")),
        candidate(1, "bb", log(0.5), trial=ran("1")),
        candidate(2, "aa", log(0.5), duplicate_of=0),
        candidate(3, "cc", finish_reason="cancelled"),
    ]
    scores = await VerifierScorer(TextJudge(classifier)).score(task, candidates)
    assert [score.value for score in scores[:3]] == pytest.approx([log(0.375)] * 3)
    assert (scores[3].value, scores[3].reason) == (None, "cancelled")
    assert len(classifier.texts) == 2
    assert all("# return: (int)=1" in text for text in classifier.texts)


async def test_a_discriminator_sees_no_results() -> None:
    classifier = ScriptedClassifier({"aa": 0.5, "bb": 0.0}, execution=False)
    candidates = [candidate(0, "aa", trial=ran("1")), candidate(1, "bb", trial=ran("2"))]
    scores = await DiscriminatorScorer(classifier).score(TASK, candidates)
    assert scores[0].value == pytest.approx(log(0.5))
    assert scores[1].value == pytest.approx(log(1e-12))
    assert not any("execution" in text for text in classifier.texts)
    with pytest.raises(InvalidVerifier, match="--no-execution"):
        DiscriminatorScorer(ScriptedClassifier({}))


def test_another_input_format_is_refused_by_name() -> None:
    with pytest.raises(InvalidVerifier, match="input_format"):
        TextJudge(ScriptedClassifier({}, input_format=INPUT_FORMAT + 1))


def test_the_text_is_levers() -> None:
    attempt = Attempt(
        text="    return x + 1\n",
        outcome=ran("2", "7", None, passed=(True, False, False)),
        trial=ran("'" + "x" * 50 + "'", None, "3", "4"),
    )
    asked = question(attempt, weights=(1, 5, 1, 1))
    assert verifier_text(asked, attempt, execution=True) == (
        "# description\ndef f(x):\n    '''Add one.'''\n"
        "# program\n    return x + 1\n"
        "# execution\n"
        "# passed: (int)=2\n# failed: (int)=7\n# failed: ERROR: IndexError\n"
        f"# return: (str)='{'x' * 28}...\n# return: ERROR: IndexError\n# return: (int)=3\n"
    )
    assert "execution" not in verifier_text(asked, attempt, execution=False)


def test_programs_that_do_not_load_or_did_not_run_say_so() -> None:
    broken = Attempt(text="(", outcome=Outcome(status=Status.COMPILE_ERROR))
    assert verifier_text(question(broken), broken, execution=True).endswith("# execution\n# ERROR: compile_error\n")
    fresh = Attempt(text="x")
    assert verifier_text(question(fresh), fresh, execution=True).endswith("# execution\n# not run\n")


def test_expected_values_of_tests_are_never_shown() -> None:
    """Neither a type here nor the file of questions has a field for one."""
    assert not {"expected", "test", "suite"} & {*Attempt.__dataclass_fields__}


async def test_a_classifier_that_breaks_is_the_engines_error() -> None:
    classifier = ScriptedClassifier({"aa": 0.5})
    scorer = VerifierScorer(TextJudge(classifier))
    await classifier.aclose()
    with pytest.raises(EngineFailed):
        await scorer.score(TASK, [candidate(0, "aa")])


def test_one_candidate_without_a_token_changes_nothing_for_the_others() -> None:
    known = [Attempt(text="a", mean_logprob=-2.0, trial=ran("1")), Attempt(text="b", mean_logprob=-0.1, trial=ran("2"))]
    empty = Attempt(text="", trial=ran("3"))
    before = combine(question(*known), [0.5, 0.5], aggregate=True)
    after = combine(question(*known, empty), [0.5, 0.5, 0.5], aggregate=True)
    assert after == pytest.approx([*before, before[0]])


def test_results_of_trials_and_of_the_suite_are_never_equal() -> None:
    tried = Attempt(text="a", outcome=ran("1"), trial=ran("7"))
    failed = Attempt(text="b", outcome=replace(ran("7"), status=Status.WRONG_ANSWER))
    assert result_of(tried) != result_of(failed)
    assert result_of(tried) == result_of(replace(tried, text="c"))
