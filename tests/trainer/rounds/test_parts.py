"""Parts of a round by themselves: the gate, held-out prompts as problems, fresh answers, pictures."""

import json
import math
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest

from engine import EngineConfig, ModelStore, ScriptedEngine, build_engine
from feedback import prompt_hash, suite_to_data
from reranker.evaluation import (
    Record,
    Report,
    Settings,
    SourceInfo,
    SuiteInfo,
    judge,
    make_report,
)
from sandbox import AssertSuite, Call, CallSuite, LocalSandbox, ProgramClass, StdioCase, StdioSuite, Suite
from trainer.errors import BadSetting
from trainer.groups import LIMITS, Group, Response, has_contrast, judged, with_answers
from trainer.groups import Settings as GroupSettings
from trainer.rounds.asked import Answers, Ask, LocalSampler
from trainer.rounds.collect import teaches
from trainer.rounds.config import GateConfig, TrainerConfig, load
from trainer.rounds.gate import Pair, decide
from trainer.rounds.held_out import problems_of
from trainer.rounds.pictures import Line, bars, lines, standalone
from trainer.rounds.report import losses_of

PROMPT = "def double(x):\n"
RIGHT, WRONG, BROKEN = "    return 2 * x\n", "    return x\n", "    return (\n"


def response(text: str, cls: ProgramClass | None, score: float | None, **changes: object) -> Response:
    made = Response(text=text, ended=True, program_class=cls, fraction=None, score=score, source="student")
    return replace(made, **changes)  # type: ignore[arg-type]


def group(suite: Suite | None, *responses: Response, prompt: str = PROMPT) -> Group:
    data = {"kind": "text", "text": prompt}
    return Group(
        prompt=data,
        prompt_hash=prompt_hash(data),
        split="train",
        task={"shape": "completion", "prefix": None, "suffix": "", "entry_point": "double"},
        suite=None if suite is None else suite_to_data(suite),
        responses=responses,
    )


TESTS = AssertSuite("assert double(2) == 4\nassert double(0) == 0\n", visible=False)


# The gate


def report(passes: list[list[bool]], model: str = "m") -> Report:
    n = len(passes[0])
    records = [
        Record(
            task_id=f"p/{number}",
            texts=("a", "b"),
            classes=(ProgramClass.PASS, ProgramClass.PARTIAL),
            samples=tuple(0 if passed else 1 for passed in row),
            orders={},
            logprobs=(None,) * n,
            position=number,
        )
        for number, row in enumerate(passes)
    ]
    suite = SuiteInfo(name="s", source="", content_hash="sha256:0", problems=len(passes))
    source = SourceInfo(kind="engine", model=model)
    settings = Settings(n=n, ks=(1, n) if n > 1 else (1,), greedy=False)
    return make_report(suite, source, settings, records)


def share(problems: int, passing: int, n: int = 4) -> list[list[bool]]:
    """The first `passing` problems are solved by every sample."""
    return [[number < passing] * n for number in range(problems)]


def test_the_gate_lets_through_what_clearly_gains() -> None:
    pair = Pair(champion=report(share(40, 10)), challenger=report(share(40, 25)), unquantised=report(share(40, 25)))
    decision = decide([pair], GateConfig())
    assert decision.passed
    assert decision.gain is not None
    assert decision.gain.value == pytest.approx(15 / 40)
    assert "pass@1 +37.5" in decision.reason


def test_the_gate_refuses_what_may_be_chance_and_says_so() -> None:
    pair = Pair(champion=report(share(40, 10)), challenger=report(share(40, 11)), unquantised=None)
    decision = decide([pair], GateConfig())
    assert not decision.passed
    assert "gate.least_gain" in decision.reason
    assert decide([pair], GateConfig(least_gain=-0.1)).passed


def test_the_gate_refuses_lost_variety_and_lost_quality_by_quantisation() -> None:
    wide = [[number % 4 == place for place in range(4)] for number in range(40)]  # each solved once of four
    narrow = share(40, 25)
    decision = decide([Pair(champion=report(wide), challenger=report(narrow), unquantised=None)], GateConfig())
    assert not decision.passed
    assert "gate.most_lost_variety" in decision.reason
    rough = Pair(champion=report(share(40, 5)), challenger=report(share(40, 20)), unquantised=report(share(40, 35)))
    assert "gate.most_lost_quantised" in decide([rough], GateConfig()).reason


def test_the_gate_refuses_to_judge_by_a_few_problems() -> None:
    pair = Pair(champion=report(share(5, 0)), challenger=report(share(5, 5)), unquantised=None)
    assert "5 problems evaluated, gate.least_problems is 20" in decide([pair], GateConfig()).reason
    assert not decide([], GateConfig()).passed


# Held-out prompts


@pytest.mark.isolation
@pytest.mark.parametrize(
    "suite",
    [
        TESTS,
        CallSuite(
            (
                Call(function="double", args=(2,), expected=4),
                Call(function="double", kwargs=(("x", 0.15),), expected=0.3, tolerance=1e-9),
            )
        ),
    ],
)
async def test_a_held_out_prompt_is_judged_as_the_log_judged_it(suite: Suite) -> None:
    [problem] = problems_of([group(suite)])
    async with LocalSandbox() as sandbox:
        outcomes = await judge(problem, [RIGHT, WRONG, BROKEN], sandbox, LIMITS)
    assert [outcomes[text].status for text in (RIGHT, WRONG, BROKEN)] == ["passed", "wrong_answer", "compile_error"]


def test_of_held_out_prompts_only_those_become_problems_that_can() -> None:
    stdio = StdioSuite((StdioCase("1\n", "2\n"),), visible=False)
    chat = replace(group(TESTS), prompt={"kind": "chat", "messages": [{"role": "user", "content": "double"}]})
    found = problems_of([group(TESTS), group(TESTS), group(None, prompt="def a(): ..."), chat, group(stdio)])
    assert [(each.prompt, bool(each.stdio), bool(each.test)) for each in found] == [
        (PROMPT, False, True),
        (PROMPT, True, False),
    ]


# Groups with fresh answers


async def test_answers_join_a_group_by_its_own_rules() -> None:
    base = group(TESTS, response(WRONG, ProgramClass.PARTIAL, 0.0, shown=True, exchange_id="cmpl-1"))
    assert not has_contrast(base)
    answers = [
        response("    return x  # the same\n", ProgramClass.PARTIAL, None, fraction=0.5),
        response(RIGHT, ProgramClass.PASS, None, fraction=1.0),
        response(BROKEN, ProgramClass.SYNTAX_ERROR, None, source="teacher"),  # below the student: left out
    ]
    full = await with_answers(base, answers, GroupSettings())
    assert has_contrast(full)
    assert [(each.text, each.score, each.count) for each in full.responses] == [(RIGHT, 1.0, 1), (WRONG, 0.0, 2)]
    assert full.responses[1].exchange_id == "cmpl-1"


@pytest.mark.parametrize(
    ("classes", "learning"),
    [
        ([ProgramClass.PASS], {"kto", "sft"}),
        ([ProgramClass.PARTIAL], {"kto"}),
        ([ProgramClass.PASS, ProgramClass.PARTIAL], {"kto", "sft", "rrtf", "dpo"}),
        ([ProgramClass.PARTIAL, ProgramClass.SYNTAX_ERROR], {"kto"}),
        ([], set()),
    ],
)
def test_which_losses_learn_from_a_group(classes: list[ProgramClass], learning: set[str]) -> None:
    made = [response(f"    return {cls}\n", cls, judged(cls, 0.5)) for cls in classes]
    found = {loss for loss in ("kto", "sft", "rrtf", "dpo") if teaches(group(TESTS, *made), loss, passing=True)}
    assert found == learning
    if len(made) == 2:
        assert teaches(group(TESTS, *made), "rrtf", passing=False)


# Asking


@pytest.mark.isolation
async def test_a_teacher_is_asked_once_and_what_it_answers_is_run(tmp_path: Path) -> None:
    script = tmp_path / "script.json"
    script.write_text(json.dumps({PROMPT: [RIGHT, WRONG], "*": [WRONG]}))
    asked = [group(TESTS), group(TESTS, prompt="def double(x):\n    # again\n")]
    engine = await build_engine(EngineConfig(type="scripted", script=script), ModelStore(tmp_path))
    ask = Ask(source="teacher", info=engine.info, n=2, temperatures=(0.5, 1.0))
    path = tmp_path / "teacher.jsonl"
    done: list[int] = []
    try:
        async with LocalSandbox() as sandbox:
            answers = Answers(path, ask)
            sampler = LocalSampler(engine, sandbox)
            await answers.fill(asked[:1], sampler, done.append)
            [only] = path.read_text().splitlines()
            path.write_text(only + '\n{"group": "cut sho')  # as a kill may leave it
            answers = Answers(path, ask)
            assert answers.of(asked[1]) is None
            await answers.fill(asked, sampler, done.append)
    finally:
        await engine.aclose()
    found = answers.of(asked[0])
    assert found is not None
    assert {(each.program_class, each.fraction, each.source) for each in found} >= {("pass", 1.0, "teacher")}
    assert len(found) == 4
    assert [len(path.read_text().splitlines()), done] == [2, [1, 1, 2]]


@pytest.mark.isolation
async def test_a_prompt_too_long_for_a_teacher_has_no_answers_and_the_others_have(tmp_path: Path) -> None:
    short, long = group(TESTS), group(TESTS, prompt="# more\n" * 100 + PROMPT)
    engine = ScriptedEngine({}, otherwise=[RIGHT], context_length=200)
    answers = Answers(tmp_path / "teacher.jsonl", Ask(source="teacher", info=engine.info, n=1, temperatures=(1.0,)))
    async with LocalSandbox() as sandbox:
        await answers.fill([long, short], LocalSampler(engine, sandbox), lambda done: None)
    assert (answers.of(long), answers.too_long) == ((), 1)
    assert [each.program_class for each in answers.of(short) or ()] == ["pass"]


# Pictures


def test_pictures_are_well_formed_and_hold_what_they_draw() -> None:
    drawn = [Line("one <sample>", "method0", ((0, 0.1, 0.05, 0.15), (1, 0.2, 0.15, 0.25)))]
    text = standalone(lines(drawn, name="a & b", across="round", percent=True), drawn)
    root = ElementTree.fromstring(text)
    assert root.tag.endswith("svg")
    assert "one <sample>" in "".join(root.itertext())
    assert len([each for each in root.iter() if each.tag.endswith("circle")]) == 3
    histogram = ElementTree.fromstring(str(bars({"pass": [0.1, 0.4]}, ("before", "after"), name="classes")))
    assert _texts(histogram)[:5] == ["0 %", "10 %", "20 %", "30 %", "40 %"]
    heights = [float(each.attrib["height"]) for each in histogram.iter() if each.tag.endswith("rect")]
    assert heights[1] == pytest.approx(4 * heights[0], rel=0.01)


def test_a_section_that_nobody_knows_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "touchstone.toml"
    path.write_text("[trainer.recipe]\nepochs = 1\n[trainr.recipe]\nepochs = 2\n")
    with pytest.raises(BadSetting, match=r"trainr: unknown section; did you mean trainer\?"):
        load(path)
    path.write_text("[server]\nport = 1\n[log]\n")
    assert load(path).trainer == TrainerConfig()
    monkeypatch.setenv("TOUCHSTONE_TRAINR__X", "1")
    with pytest.raises(BadSetting, match="TOUCHSTONE_TRAINR__X: unknown section"):
        load(path)


def test_an_axis_has_whole_numbers_that_stand_apart() -> None:
    def across(*xs: int) -> list[str]:
        line = Line("loss", "method0", tuple((x, 0.5) for x in xs))
        return _texts(ElementTree.fromstring(str(lines([line], name="n", across="step"))))[5:-1]

    assert across(1, 2, 3, 4, 5, 6) == ["1", "2", "3", "4", "5", "6"]
    assert across(1, 300) == ["50", "100", "150", "200", "250", "300"]
    assert across(3) == ["3"]


def test_losses_are_drawn_where_they_are() -> None:
    parts: list[dict[str, float]] = [{"rank": 1.0}, {"rank": math.nan, "kl": 0.5}, {"rank": 0.5}]
    metrics = [{"kind": "step", "step": at, "loss": 1.0, "parts": each} for at, each in enumerate(parts, 1)]
    plot = ElementTree.fromstring(str(losses_of(metrics)["plot"]))
    assert [name for name, _ in losses_of(metrics)["names"]] == ["loss", "rank", "kl"]
    assert len([each for each in plot.iter() if each.tag.endswith("circle")]) == 3 + 2 + 1


def _texts(root: ElementTree.Element) -> list[str]:
    return [each.text or "" for each in root.iter() if each.tag.endswith("text")]
