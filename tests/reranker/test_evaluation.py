"""Evaluations of a scripted engine in the real sandbox: every number by hand, and what breaks is said."""

import asyncio
import gzip
import json
from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

import reranker
from engine import (
    EngineError,
    EngineFailed,
    EngineInfo,
    Event,
    Finished,
    GenerationRequest,
    Overloaded,
    Prompt,
    ScoredCompletion,
    Scripted,
    ScriptedEngine,
    available_cores,
)
from reranker.evaluation import (
    GREEDY,
    ORACLE,
    RANDOM,
    EngineSource,
    GivenSource,
    InvalidSamples,
    InvalidSetting,
    NotComparable,
    Problem,
    ProblemFailed,
    ProblemSuite,
    Record,
    Report,
    Settings,
    canonical,
    compare,
    default_ks,
    evaluate,
    read_samples,
)
from reranker.evaluation.report import this_host
from sandbox import LaunchFailed, Outcome, ProgramClass, ScriptedSandbox, Status

from .evaluations import BARE, BY_HEART, FOUR, GAP, RIGHT, SCRIPT, SHOWN, SUITE, WRONG, confined, measure

PASS, PARTIAL = ProgramClass.PASS, ProgramClass.PARTIAL


def values(report: Report) -> dict[tuple[str, int], float]:
    return {(each.name, each.k): each.estimate.value for each in report.measures()}


async def test_every_number_of_one_problem_by_hand() -> None:
    report = await measure(replace(SUITE, problems=(SHOWN,)))
    (record,) = report.records
    # The fourth is the second's program in other words: it is returned, and judged, in the words that were tested.
    assert record.texts == (WRONG.rstrip(), RIGHT.rstrip(), BY_HEART.rstrip())
    assert record.classes == (PARTIAL, PASS, PARTIAL)
    assert record.samples == (0, 1, 2, 1)
    assert record.greedy == 0
    # Of those the example lets through the likeliest is the one that knows it by heart.
    assert record.orders["examples"] == (2, 1, 3, 0)
    assert record.orders["likelihood"] == (0, 2, 1, 3)
    assert report.methods == ("examples", "likelihood")
    assert values(report) == pytest.approx(
        {
            (GREEDY, 1): 0,
            (RANDOM, 1): 1 / 2,
            ("examples", 2): 2 / 6 + 1 / 6,
            ("examples", 4): 0,
            ("likelihood", 2): 1 / 6,
            ("likelihood", 4): 0,
            (ORACLE, 2): 5 / 6,
            (ORACLE, 4): 1,
        }
    )


async def test_a_mixed_suite_has_auto_and_says_where_a_method_applies() -> None:
    report = await measure()
    assert report.methods == ("auto", "examples", "likelihood")
    problems = {(each.name, each.k): each.problems for each in report.measures()}
    assert problems["auto", 4] == problems["likelihood", 4] == 3
    assert problems["examples", 4] == 1
    assert values(report)[RANDOM, 1] == pytest.approx((1 / 2 + 1 / 4 + 1 / 2) / 3)
    assert values(report)["auto", 4] == pytest.approx((0 + 1 + 1) / 3)
    gains = {(each.name, each.k): each.estimate.value for each in report.gains()}
    assert gains["auto", 4] == pytest.approx((-1 / 2 + 3 / 4 + 1 / 2) / 3)


async def test_what_is_counted_and_how_it_is_grouped() -> None:
    report = await measure()
    counts = report.counts
    assert (counts.problems, counts.judged, counts.samples) == (3, 3, 12)
    assert counts.distinct == 3 + 4 + 2
    assert counts.classes == {"syntax_error": 1, "runtime_error": 1, "partial": 2 + 1 + 2, "pass": 2 + 1 + 2}
    assert report.ms_per_token is not None
    groups = {(group.tag, group.value): group for group in report.groups()}
    assert set(groups) == {("n_steps", 1), ("n_steps", 2)}
    assert groups["n_steps", 2].problems == 2
    random = next(each for each in groups["n_steps", 2].measures if each.name == RANDOM)
    assert random.estimate.value == pytest.approx((1 / 4 + 1 / 2) / 2)


async def test_text_after_the_function_is_cut_before_it_is_judged_and_counted() -> None:
    report = await measure(replace(SUITE, problems=(BARE,)))
    assert report.records[0].texts[0] == "    return x / 2"
    assert report.records[0].passes == (True, False, False, False)


async def test_records_stand_in_the_order_of_the_suite_whatever_finishes_first() -> None:
    slow = {**SCRIPT, SHOWN.prompt: [Scripted(RIGHT, delay_s=0.2)]}
    finished: list[str] = []
    async with confined() as sandbox:
        source = EngineSource(ScriptedEngine(slow), sandbox)
        report = await evaluate(
            SUITE,
            source,
            FOUR,
            sandbox=sandbox,
            concurrency=3,
            on_record=lambda record: finished.append(record.task_id),
        )
    assert finished[-1] == "shown"
    assert [record.task_id for record in report.records] == ["shown", "bare", "gap"]
    assert [record.position for record in report.records] == [0, 1, 2]


async def test_what_is_done_is_not_done_again() -> None:
    whole = await measure()
    only = Record(task_id="shown", texts=("mine",), classes=(PASS,), samples=(0, 0, 0, 0))
    report = await measure(done=[only])
    assert report.records[0] is only
    assert report.records[1].samples == whole.records[1].samples


async def test_a_failing_sandbox_is_an_error_that_names_the_problem() -> None:
    finished: list[Record] = []
    sandbox = ScriptedSandbox(LaunchFailed("no more processes"))
    suite = replace(SUITE, problems=(BARE, GAP))
    with pytest.raises(ProblemFailed, match=r"^(bare|gap): .*no more processes"):
        await evaluate(
            suite,
            EngineSource(ScriptedEngine(SCRIPT), sandbox),
            FOUR,
            sandbox=sandbox,
            on_record=finished.append,
        )
    assert finished == []


class Breaking:
    """An engine that breaks off: sampling above temperature 0 raises after some candidates are finished."""

    def __init__(self, after: int, error: EngineError) -> None:
        self._inner, self._after, self._error = ScriptedEngine(SCRIPT), after, error

    @property
    def info(self) -> EngineInfo:
        return self._inner.info

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[Event, None]:
        finished = 0
        async for event in self._inner.generate(request):
            if request.sampling.temperature > 0 and isinstance(event, Finished):
                if finished >= self._after:
                    raise self._error
                finished += 1
            yield event

    async def score(self, prompt: Prompt, completions: Sequence[str]) -> list[ScoredCompletion]:
        return await self._inner.score(prompt, completions)

    async def aclose(self) -> None:
        await self._inner.aclose()


@pytest.mark.parametrize(("after", "error"), [(2, EngineFailed("out of memory")), (0, Overloaded(1.0))])
async def test_an_engine_that_breaks_off_is_an_error_and_nothing_is_recorded(after: int, error: EngineError) -> None:
    finished: list[Record] = []
    async with confined() as sandbox:
        source = EngineSource(Breaking(after, error), sandbox)
        with pytest.raises(ProblemFailed, match=r"^bare: the ranking is degraded: the engine failed"):
            await evaluate(replace(SUITE, problems=(BARE,)), source, FOUR, sandbox=sandbox, on_record=finished.append)
    assert finished == []


class Unchecked(GivenSource):
    """Lets settings through that ask for more samples than there are."""

    def check(self, settings: Settings) -> None:
        """See `Source`."""


async def test_a_source_that_gives_too_few_samples_is_an_error_that_names_the_problem() -> None:
    sandbox = ScriptedSandbox(LaunchFailed("unused"))
    with pytest.raises(ProblemFailed, match=r"^shown: samples: 1 where 4 were asked for"):
        await evaluate(SUITE, Unchecked({"shown": (RIGHT,)}, "here"), FOUR, sandbox=sandbox)


async def test_the_texts_of_a_record_are_the_programs_that_were_judged() -> None:
    # Cut once, this ends after the second function; cut once more, it would end after the first.
    text = "    return h(x)\n\ndef g(h):\n    return h\n\ndef h(x):\n    return x / 2\n\nprint(1)\n"
    sandbox = ScriptedSandbox(Outcome(status=Status.PASSED))
    settings = Settings(n=1, ks=(1,), greedy=False, temperature=None, top_p=None)
    report = await evaluate(SUITE, GivenSource({"bare": (text,)}, "here"), settings, sandbox=sandbox)
    assert tuple(program.completion for program, _, _ in sandbox.runs) == report.records[0].texts


def test_a_hidden_test_may_take_ten_seconds() -> None:
    limits = Settings().limits
    assert (limits.test_cpu_s, limits.test_wall_s, limits.cpu_s, limits.wall_s) == (10, 40, 20, 80)


def test_cores_are_counted_by_the_engine_that_knows_of_quotas() -> None:
    assert this_host().cores == available_cores()
    counted = [path for path in Path(reranker.__file__).parent.rglob("*.py") if "sched_getaffinity" in path.read_text()]
    assert counted == []


async def test_tests_that_cannot_run_are_named_and_count_in_nothing() -> None:
    broken = replace(BARE, task_id="broken", test="def check(candidate:\n")
    report = await measure(replace(SUITE, problems=(SHOWN, broken)))
    assert [record.task_id for record in report.unjudged] == ["broken"]
    assert "broken" in report.unjudged[0].unjudged
    assert (report.counts.problems, report.counts.judged) == (2, 1)
    assert values(report)[RANDOM, 1] == pytest.approx(1 / 2)


async def test_cancelling_stops_the_engine_and_the_sandbox() -> None:
    begun = asyncio.Event()

    def endless(prompt: str) -> list[Scripted]:
        begun.set()
        return [Scripted("x" * 1000, delay_s=0.05)]

    engine = ScriptedEngine(endless)
    async with confined() as sandbox:
        work = asyncio.create_task(evaluate(SUITE, EngineSource(engine, sandbox), FOUR, sandbox=sandbox))
        await begun.wait()
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work
        assert engine.stats().requests_running == 0


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"n": 0}, "n"),
        ({"n": 4, "ks": (1, 5)}, "k"),
        ({"ks": ()}, "k"),
        ({"ks": (4, 1)}, "k"),
        ({"temperature": 0.0}, "temperature"),
        ({"top_p": 0.0}, "top_p"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"test_cpu_s": 0.0}, "test_cpu_s"),
        ({"test_cpu_s": float("nan")}, "test_cpu_s"),
        ({"test_cpu_s": float("inf")}, "test_cpu_s"),
        ({"temperature": float("nan")}, "temperature"),
        ({"temperature": float("inf")}, "temperature"),
        ({"top_p": float("nan")}, "top_p"),
    ],
)
def test_settings_that_cannot_be_are_refused_by_name(settings: dict[str, float], named: str) -> None:
    with pytest.raises(InvalidSetting, match=f"^{named}: "):
        Settings(**settings)  # type: ignore[arg-type]


def test_the_sizes_go_up_to_n() -> None:
    assert [default_ks(n) for n in (1, 4, 8, 16, 20)] == [(1,), (1, 4), (1, 4, 8), (1, 4, 16), (1, 4, 16, 20)]


async def test_an_engine_measures_every_method_and_takes_no_name_of_one() -> None:
    source = EngineSource(ScriptedEngine(SCRIPT), ScriptedSandbox(LaunchFailed("unused")))
    with pytest.raises(InvalidSetting, match=r"^method: "):
        source.check(replace(FOUR, method="examples"))


async def test_canonical_solutions_are_one_sample_a_problem() -> None:
    settings = Settings(n=1, ks=(1,), greedy=False, temperature=None, top_p=None)
    async with confined() as sandbox:
        report = await evaluate(SUITE, canonical(SUITE), settings, sandbox=sandbox)
    assert values(report) == {(RANDOM, 1): 1.0}
    assert report.ms_per_token is None
    with pytest.raises(InvalidSamples, match="no canonical solution of bare"):
        canonical(replace(SUITE, problems=(SHOWN, replace(BARE, canonical_solution=None))))


async def test_given_samples_are_read_joined_and_only_their_problems_measured(tmp_path: Path) -> None:
    rows = [
        {"task_id": "shown", "completions": [WRONG, RIGHT], "prompt": "ignored"},
        {"task_id": "elsewhere", "completion": "x"},
        {"task_id": "shown", "completion": RIGHT + "\nprint('after the function')\n"},
    ]
    path = tmp_path / "samples.jsonl.gz"
    path.write_bytes(gzip.compress("\n".join(map(json.dumps, rows)).encode()))
    source = read_samples(path, SUITE)
    assert source.least == 3
    settings = Settings(n=3, ks=(1, 3), greedy=False, temperature=None, top_p=None)
    async with confined() as sandbox:
        report = await evaluate(SUITE, source, settings, sandbox=sandbox)
    assert [record.task_id for record in report.records] == ["shown"]
    assert report.records[0].samples == (0, 1, 1)
    assert values(report) == pytest.approx({(RANDOM, 1): 2 / 3, (ORACLE, 3): 1})
    with pytest.raises(InvalidSetting, match=r"^n: .* only 3"):
        source.check(Settings(n=4, ks=(1,)))


def test_a_separator_of_unicode_is_part_of_a_completion(tmp_path: Path) -> None:
    path = tmp_path / "samples.jsonl"
    text = "    return '\u2028\x85'"
    path.write_text(json.dumps({"task_id": "shown", "completion": text}, ensure_ascii=False) + "\r\n")
    assert read_samples(path, SUITE).least == 1


def test_damaged_samples_are_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "samples.jsonl.gz"
    data = bytearray(gzip.compress(b'{"task_id": "shown", "completion": "x"}\n' * 9))
    data[10] = 0xFF  # a block of a type that does not exist
    path.write_bytes(data)
    with pytest.raises(InvalidSamples, match=r"samples\.jsonl\.gz: "):
        read_samples(path, SUITE)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "not a JSON object"),
        ("[1]", "not a JSON object"),
        ('{"completion": "x"}', "no 'task_id'"),
        ('{"task_id": "shown"}', "no 'completion'"),
        ('{"task_id": "shown", "completions": []}', "not empty"),
        ('{"task_id": "shown", "completion": 1}', "not text"),
    ],
)
def test_samples_that_cannot_be_read_name_file_and_line(tmp_path: Path, line: str, said: str) -> None:
    path = tmp_path / "samples.jsonl"
    path.write_text('{"task_id": "shown", "completion": "x"}\n' + line)
    with pytest.raises(InvalidSamples, match=rf"samples.jsonl:2: .*{said}"):
        read_samples(path, SUITE)


async def test_two_runs_are_compared_problem_by_problem() -> None:
    better = {**SCRIPT, SHOWN.prompt: [Scripted(RIGHT, -0.1)]}
    before = await measure()
    async with confined() as sandbox:
        source = EngineSource(ScriptedEngine(better), sandbox)
        after = await evaluate(replace(SUITE, problems=SUITE.problems), source, FOUR, sandbox=sandbox, limit=2)
    comparison = compare(before, after)
    assert comparison.shared == 2
    random = next(each for each in comparison.differences if each.name == RANDOM)
    assert (random.before, random.after) == pytest.approx(((1 / 2 + 1 / 4) / 2, (1 + 1 / 4) / 2))
    assert random.change.value == pytest.approx(1 / 4)
    assert not random.is_clear
    same = compare(before, before)
    assert all(each.change.low == each.change.high == 0 for each in same.differences)


async def test_what_cannot_be_compared_says_why() -> None:
    shown = replace(SUITE, problems=(SHOWN,))
    report = await measure(shown)
    other = await measure(replace(SUITE, problems=(replace(SHOWN, test="assert inc(1) == 2\n"),)))
    with pytest.raises(NotComparable, match="the suites differ: small is sha256:"):
        compare(report, other)
    nothing = replace(report, records=())
    with pytest.raises(NotComparable, match="no problem of small"):
        compare(report, nothing)


async def test_a_problem_the_sandbox_has_no_form_for_is_not_sampled() -> None:
    foreign = Problem(task_id="foreign", prompt="fn main() {", language="rust", test="x")
    report = await measure(ProblemSuite(name="mixed", problems=(foreign, GAP), source="memory"))
    assert "language" in report.records[0].unjudged
    assert report.records[1].passes == (True, False, True, False)
