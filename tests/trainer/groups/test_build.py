"""Every rule by which an exchange becomes a group, or part of one, or nothing: by hand, nothing run."""

from dataclasses import replace

import pytest

from feedback import InvalidExchange, prompt_hash
from reranker.evaluation import Problem, ProblemSuite
from sandbox import AssertSuite, ProgramClass, ScriptedSandbox
from tests.trainer.groups.records import (
    BROKEN,
    HALF,
    PROMPT,
    RAISES,
    RIGHT,
    SUITE,
    WRONG,
    candidate,
    chat,
    exchange,
    made,
    outcome,
    scores,
    signal,
    solution,
)
from trainer import BadGroups
from trainer.groups import Contamination, Settings, Teachers
from trainer.groups.gather import MAX_TEXTS

GOOD, BAD = candidate(RIGHT, "pass"), candidate(WRONG, "partial")


async def test_a_group_holds_the_judged_candidates_the_best_first() -> None:
    asked = exchange(
        candidate(BROKEN, "syntax_error"), GOOD, candidate(RAISES, "runtime_error"), candidate(HALF, "partial")
    )
    [group], tally = await made(asked)
    assert scores(group) == {RIGHT: 1.0, HALF: 0.0, RAISES: -0.6, BROKEN: -1.0}
    assert [response.text for response in group.responses] == [RIGHT, HALF, RAISES, BROKEN]
    best, *_, last = group.responses
    assert (best.program_class, best.fraction, best.model, best.round) == (ProgramClass.PASS, 1.0, "tiny:1-int8.r3", 3)
    assert (best.exchange_id, best.rank, best.shown, best.propensity, best.source) == (
        asked.id,
        1,
        False,
        0.0,
        "student",
    )
    assert (last.shown, last.propensity, last.mean_logprob) == (True, 1.0, -0.5)
    assert (group.prompt, group.prompt_hash, group.suite) == (asked.prompt, asked.prompt_hash, asked.suite)
    assert (tally.read, tally.groups, tally.sources["student"], tally.classes["pass"]) == (1, 1, 4, 1)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"purpose": "eval"}, "purpose eval"),
        ({"purpose": "train"}, "purpose train"),
        ({"key_id": "kept out"}, "its key may not train"),
        ({"prompt": {"kind": "text", "no_text": True}}, "its text was not kept"),
        (
            {"prompt": {"kind": "tokens", "ids": [1, 2]}},
            "a prompt of token ids, which cannot be searched for secrets",
        ),
    ],
)
async def test_what_may_not_be_trained_on_is_left_out_and_counted(changes: dict[str, object], why: str) -> None:
    found, tally = await made(replace(exchange(GOOD, BAD), **changes), exclude_keys=frozenset({"kept out"}))  # type: ignore[arg-type]
    assert found == []
    assert tally.left_out == {why: 1}


async def test_only_the_keys_named_train() -> None:
    log = [replace(exchange(GOOD, BAD, number=n, prompt=f"def f{n}(x):\n"), key_id=k) for n, k in enumerate("ab")]
    log.append(exchange(GOOD, BAD, number=9))
    found, _ = await made(*log, train_keys=frozenset({"a", "local"}))
    assert {group.key_id for group in found} == {"a", None}


async def test_a_key_gets_its_share_drawn_by_hash_and_others_are_not_touched() -> None:
    mine = [replace(exchange(GOOD, BAD, number=n, prompt=f"def f{n}(x):\n"), key_id="mine") for n in range(100)]
    others = [exchange(GOOD, BAD, number=n, prompt=f"def g{n}(x):\n") for n in range(100, 110)]
    found, tally = await made(*mine, *others, max_groups_per_key=7)
    assert tally.keys == {"mine": 7, "local": 10}
    assert tally.prompts == {"its key has its share": 93}
    assert tally.left_out == {"its key has its share": tally.left_out["its key has its share"], "read twice": 0}
    again, _ = await made(*reversed(others), *reversed(mine), max_groups_per_key=7)
    assert again == found
    names = {group.prompt["text"] for group in found if group.key_id == "mine"}
    assert names != {f"def f{n}(x):\n" for n in range(7)}, "first come, first served"


async def test_a_prompt_of_two_keys_goes_on_without_the_one_that_has_its_share() -> None:
    log = []
    for n in range(40):
        prompt = f"def f{n}(x):\n"
        log.append(replace(exchange(GOOD, BAD, number=n, prompt=prompt), key_id="many"))
        log.append(replace(exchange(GOOD, candidate(HALF, "partial"), number=100 + n, prompt=prompt), key_id=f"k{n}"))
    found, tally = await made(*log, max_groups_per_key=3)
    assert len(found) == 40
    assert tally.keys["many"] == 3
    assert sum(WRONG in scores(group) for group in found) == 3


async def test_prompts_without_contrast_are_left_out() -> None:
    alike = exchange(GOOD, candidate("    return 1 + x", "pass"))
    single = exchange(GOOD, prompt="def f(x):\n")
    unknown = exchange(candidate(RIGHT), candidate(WRONG), suite=None, prompt="def g(x):\n")
    found, tally = await made(alike, single, unknown)
    assert found == []
    assert tally.prompts == {"no contrast": 3}
    kept, _ = await made(alike, single, unknown, contrast=False)
    assert len(kept) == 2


async def test_equal_programs_become_one_and_the_shown_one_stays() -> None:
    first = exchange(BAD, GOOD, number=1)
    other = exchange(candidate("    return (x + 1)  # one more", "pass"), candidate(RIGHT, "pass", duplicate_of=0))
    [group], _ = await made(first, other)
    best, worst = group.responses
    assert (best.text, best.count, best.shown, best.exchange_id) == (
        "    return (x + 1)  # one more",
        3,
        True,
        other.id,
    )
    assert (worst.text, worst.count) == (WRONG, 1)


async def test_what_the_log_says_is_equal_is_not_parsed_again() -> None:
    log = exchange(candidate(RIGHT, "pass"), candidate("    return other", "pass", duplicate_of=0), BAD)
    [group], _ = await made(log)
    assert [(response.text, response.count) for response in group.responses] == [(RIGHT, 2), (WRONG, 1)]


async def test_one_program_judged_two_ways_is_left_out() -> None:
    found, tally = await made(exchange(GOOD, BAD), exchange(candidate(RIGHT, "partial"), number=1))
    assert found == []
    assert tally.prompts == {"no contrast": 1}
    assert tally.responses["judged one way and another"] == 0, "no group, nothing counted"
    [group], tally = await made(
        exchange(GOOD, BAD, candidate(RAISES, "runtime_error")), exchange(candidate(RIGHT, "partial"), number=1)
    )
    assert RIGHT not in scores(group)
    assert tally.responses["judged one way and another"] == 1


async def test_suites_and_tasks_apart_are_groups_apart() -> None:
    other = AssertSuite("assert inc(2) == 3", visible=False)
    found, _ = await made(
        exchange(GOOD, BAD),
        exchange(GOOD, BAD, number=1, suite=other),
        exchange(GOOD, BAD, number=2, task={"shape": "completion", "prefix": None, "suffix": "", "entry_point": "f"}),
    )
    assert len(found) == 3
    assert len({group.prompt_hash for group in found}) == 1
    assert len({group.split for group in found}) == 1


async def test_a_suite_known_to_one_author_is_visible() -> None:
    seen = replace(SUITE, visible=True)
    [group], _ = await made(exchange(GOOD, BAD), exchange(GOOD, BAD, number=1, suite=seen))
    assert group.suite is not None
    assert group.suite["visible"] is True


async def test_an_exchange_read_twice_counts_once() -> None:
    [group], tally = await made(exchange(GOOD, BAD), exchange(GOOD, BAD))
    assert [response.count for response in group.responses] == [1, 1]
    assert tally.left_out["read twice"] == 1


async def test_a_verdict_that_a_candidate_could_forge_is_none() -> None:
    weak = replace(SUITE, in_process=True)
    asked = exchange(GOOD, BAD, suite=weak)
    found, tally = await made(asked)
    assert found == []
    assert tally.responses["suites that a candidate could forge"] == 1
    [group], _ = await made((asked, (signal(asked, "edit", HALF),)))
    assert group.suite is None


@pytest.mark.parametrize(
    ("raw", "text", "finish", "ended"),
    [
        (RIGHT, RIGHT, "stop", True),
        (RIGHT, RIGHT, "length", False),
        (RIGHT + "\n\nprint(1)", RIGHT, "length", True),
        (RIGHT + "\n    ", RIGHT, "length", False),
        ("    return 1 + x\n\ny", RIGHT, "length", False),
    ],
    ids=["stopped", "ran out", "cut behind the function", "ran out in whitespace", "a duplicate's words"],
)
async def test_where_the_end_of_text_belongs(raw: str, text: str, finish: str, ended: bool) -> None:
    [group], _ = await made(exchange(candidate(text, "pass", raw_text=raw, finish_reason=finish), BAD))
    assert (group.responses[0].text, group.responses[0].ended) == (text, ended)


async def test_of_a_chat_the_whole_reply_is_learnt() -> None:
    reply = "Like this:\n```python\ndef inc(x):\n    return x + 1\n```\nDone."
    whole = candidate("def inc(x):\n    return x + 1", "pass", raw_text=reply)
    cut = candidate(
        "def inc(x):\n    return x", "partial", raw_text="```\ndef inc(x):\n    return x", finish_reason="length"
    )
    [group], _ = await made(exchange(whole, cut, prompt=chat("Write inc.")))
    assert [(r.text, r.ended) for r in group.responses] == [(reply, True), (cut.raw_text, False)]


async def test_of_cancelled_and_repaired_ones() -> None:
    log = exchange(GOOD, BAD, candidate("    retu", None, finish_reason="cancelled"))
    [group], tally = await made(log)
    assert len(group.responses) == 2
    assert tally.responses["cancelled before its end"] == 1
    [group], _ = await made(exchange(GOOD, candidate(WRONG, "partial", repairs=0)))
    assert group.responses[1].mean_logprob is None
    mended = candidate("def inc(x): return x", "partial", raw_text="Sorry, now:", repairs=0)
    found, tally = await made(exchange(GOOD, mended, prompt=chat("Write inc.")))
    assert found == []
    assert tally.responses["a repair, which answers another message"] == 1


async def test_where_time_chose_the_propensity_is_not_known() -> None:
    [group], _ = await made(exchange(GOOD, BAD, status="early_exit"))
    assert {response.propensity for response in group.responses} == {None}


async def test_words_where_no_suite_judged() -> None:
    asked = exchange(candidate(RIGHT, choice=0), candidate(WRONG), suite=None, method="likelihood")
    shown = replace(asked, candidates=tuple(replace(c, choice=c.index) for c in asked.candidates))
    [group], tally = await made((shown, (signal(shown, "accept"), signal(shown, "reject", choice=1))))
    assert scores(group) == {RIGHT: 0.5, WRONG: -0.5}
    assert [response.said for response in group.responses] == ["accept", "reject"]
    assert tally.classes == {"words only": 2}


async def test_an_edit_is_a_demonstration_and_speaks_against_what_was_edited() -> None:
    asked = exchange(candidate(WRONG), suite=None, method="likelihood")
    [group], _ = await made((asked, (signal(asked, "edit", RIGHT),)))
    assert scores(group) == {RIGHT: 1.0, WRONG: -0.2}
    best, worst = group.responses
    assert (best.source, best.said, best.model, best.round, best.ended) == ("user", "edit", "ide", None, True)
    assert (worst.source, worst.said) == ("student", "edit")
    found, _ = await made((asked, (signal(asked, "edit", WRONG + "\n"),)))
    assert found == [], "an edit that changes nothing accepts"


async def test_the_last_word_counts_and_can_be_taken_back() -> None:
    asked = exchange(candidate(RIGHT), candidate(WRONG), suite=None, method="likelihood")
    shown = replace(asked, candidates=tuple(replace(c, choice=c.index) for c in asked.candidates))
    said = [
        signal(shown, "reject"),
        signal(shown, "accept"),
        signal(shown, "accept", choice=1),
        signal(shown, "accept", False, choice=1),
        signal(shown, "tests", {"passed": 1, "failed": 3}, choice=1),
        signal(shown, "comment", "hm"),
    ]
    [group], tally = await made((shown, tuple(said)))
    assert scores(group) == {RIGHT: 0.5, WRONG: pytest.approx(-0.15)}
    assert tally.responses["signals that say nothing here"] == 1


async def test_ratings_count_once_their_scale_is_known() -> None:
    asked = exchange(candidate(RIGHT), candidate(WRONG), suite=None, method="likelihood")
    shown = replace(asked, candidates=tuple(replace(c, choice=c.index) for c in asked.candidates))
    said = (signal(shown, "rating", 4), signal(shown, "rating", 2, choice=1))
    found, tally = await made((shown, said))
    assert found == []
    assert tally.responses["signals that say nothing here"] == 2
    [group], _ = await made((shown, said), rating_scale=(1, 5))
    assert scores(group) == {RIGHT: 0.25, WRONG: -0.25}


async def test_several_users_are_averaged() -> None:
    def one(number: int, kind: str) -> tuple[object, ...]:
        asked = exchange(candidate(RIGHT), candidate(WRONG), number=number, suite=None, method="likelihood")
        return asked, (signal(asked, kind), signal(asked, "edit", "    return x + 1.0"))[: 1 + (number == 0)]

    log = [one(n, kind) for n, kind in enumerate(["reject", "accept", "accept", "reject"])]
    [group], _ = await made(*log)  # type: ignore[arg-type]
    [student] = [response for response in group.responses if response.source == "student"]
    assert student.score == pytest.approx((-0.2 + 0.5 + 0.5 - 0.5) / 4)
    assert (student.said, student.count) == ("accept", 4)


async def test_a_suites_verdict_outweighs_words() -> None:
    asked = exchange(candidate(WRONG, "partial"), GOOD)
    [group], _ = await made((asked, (signal(asked, "accept"),)))
    assert scores(group) == {RIGHT: 1.0, WRONG: pytest.approx(0.02)}


async def test_secrets_go_out_of_prompts_and_of_texts_nobody_judged() -> None:
    asked = exchange(
        candidate("    return 'AKIAIOSFODNN7EXAMPLE'"),
        prompt="# password = 'hunter2-Hunter3'\ndef f():\n",
        suite=None,
        method="likelihood",
    )
    [group], tally = await made((asked, (signal(asked, "edit", "    return 'AKIAIOSFODNN7EXAMPLF'[0]"),)))
    assert group.prompt["text"] == "# password = 'REDACTED'\ndef f():\n"
    assert group.prompt_hash == prompt_hash(group.prompt) != asked.prompt_hash
    assert set(scores(group)) == {"    return 'REDACTED'", "    return 'REDACTED'[0]"}
    assert tally.responses["prompts redacted"] == 1
    assert tally.responses["responses redacted"] == 1


async def test_a_judged_program_with_a_secret_is_left_out() -> None:
    secret = candidate("    return x + 1 or 'AKIAIOSFODNN7EXAMPLE'", "pass")
    [group], tally = await made(exchange(secret, GOOD, BAD))
    assert set(scores(group)) == {RIGHT, WRONG}
    assert tally.responses["a secret in a judged program"] == 1


async def test_a_redacted_prompt_has_no_verdicts_and_a_suite_with_a_secret_none_either() -> None:
    with pytest.raises(BadGroups, match="no sandbox"):
        await made(exchange(GOOD, BAD, prompt="# token = 'a1B2c3D4e5F6'\ndef inc(x):\n"))
    found, tally = await made(exchange(GOOD, BAD, suite=AssertSuite("assert inc('AKIAIOSFODNN7EXAMPLE')")))
    assert found == []
    assert tally.left_out == {"a secret in the suite": 1}


async def test_what_was_not_run_is_an_error_without_a_sandbox_and_never_a_negative() -> None:
    with pytest.raises(BadGroups, match="not run, and no sandbox"):
        await made(exchange(GOOD, candidate(WRONG)))


async def test_a_teacher_below_the_student_is_left_out_and_one_beside_it_is_above() -> None:
    teachers = Teachers()
    hashed = exchange(GOOD).prompt_hash
    for text in (HALF, "    return 1 + x"):
        teachers.add(solution(text), [hashed])
    sandbox = ScriptedSandbox({HALF: outcome("partial"), "    return 1 + x": outcome("pass")})
    [group], tally = await made(exchange(GOOD, BAD), teachers=teachers, sandbox=sandbox)
    assert scores(group) == {"    return 1 + x": 1.05, RIGHT: 1.0, WRONG: 0.0}
    assert (group.responses[0].source, group.responses[0].model) == ("teacher", "big")
    assert tally.responses["a teacher below the student"] == 1
    assert tally.ran == 2


async def test_a_teachers_own_words_are_matched_by_exchange_too_and_counted_where_they_match_nothing() -> None:
    teachers = Teachers()
    teachers.add(solution(RIGHT), ["cmpl-000000"])
    teachers.add(solution(RIGHT), ["nobody's"])
    sandbox = ScriptedSandbox(outcome("pass"))
    [group], tally = await made(exchange(BAD), teachers=teachers, sandbox=sandbox)
    assert scores(group) == {RIGHT: 1.05, WRONG: 0.0}
    assert tally.responses["solutions for no prompt that was taken"] == 1


async def test_prompts_that_hold_a_problem_of_a_suite_are_left_out() -> None:
    problem = Problem(task_id="p", prompt=PROMPT, test="assert inc(1) == 2")
    suite = ProblemSuite(name="held", problems=(problem,), source="memory")
    found, tally = await made(exchange(GOOD, BAD), contamination=Contamination([suite]))
    assert found == []
    assert (tally.contaminated, tally.prompts) == ({"held": 1}, {})


async def test_no_more_of_a_class_than_asked_drawn_by_hash() -> None:
    many = [candidate(f"    return x + {n}", "partial") for n in range(2, 12)]
    [group], tally = await made(exchange(*many, GOOD), max_per_class=3)
    assert [response.program_class for response in group.responses].count(ProgramClass.PARTIAL) == 3
    assert RIGHT in scores(group)
    assert tally.responses["more of its class than are taken"] == 7
    back, _ = await made(exchange(*reversed(many), GOOD), max_per_class=3)
    assert set(scores(back[0])) == set(scores(group))


async def test_a_prompt_asked_without_end_does_not_fill_memory() -> None:
    per = 100
    log = [
        exchange(*[candidate(f"    return x + {2 + n * per + m}", "partial") for m in range(per)], GOOD, number=n)
        for n in range(MAX_TEXTS // per + 3)
    ]
    [group], _ = await made(*log)
    assert len(group.responses) == 17
    assert RIGHT in scores(group)
    again, _ = await made(*reversed(log))
    assert again == [group]


async def test_a_record_that_cannot_be_read_is_named() -> None:
    broken = exchange(replace(GOOD, program_class="excellent"), BAD)
    with pytest.raises(InvalidExchange, match=r"exchange cmpl-000000: .*excellent"):
        await made(broken)
    with pytest.raises(InvalidExchange, match=r"exchange cmpl-000000: .*'visible'"):
        await made(replace(exchange(GOOD, BAD), suite={"form": "asserts", "body": "", "hash": "b2:"}))
    with pytest.raises(InvalidExchange, match=r"exchange cmpl-000000: prompt.kind: 'song'"):
        await made(replace(exchange(GOOD, BAD), prompt={"kind": "song"}))


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"max_groups_per_key": 0}, "max_groups_per_key"),
        ({"held_out_share": 1.0}, "held_out_share"),
        ({"max_per_class": 1}, "max_per_class"),
        ({"teacher_bump": 0.3}, "teacher_bump"),
        ({"rating_scale": (5, 1)}, "rating_scale"),
        ({"at_once": 0}, "at_once"),
    ],
)
def test_settings_out_of_range_are_named(given: dict[str, object], named: str) -> None:
    with pytest.raises(BadGroups, match=f"^{named}: "):
        Settings(**given)  # type: ignore[arg-type]
