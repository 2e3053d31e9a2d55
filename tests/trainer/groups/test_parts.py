"""Files, splits, contamination, pairs, teachers, the spool."""

import gzip
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import Fim
from feedback import prompt_hash
from reranker.evaluation import Problem, ProblemSuite
from sandbox import ProgramClass, StdioCase, StdioSuite
from tests.trainer.groups.records import BROKEN, RIGHT, WRONG, candidate, chat, exchange, made, scores
from trainer import BadGroups
from trainer.groups import (
    Contamination,
    Group,
    Response,
    content_hash,
    preferences,
    read_groups,
    read_teachers,
    split_of,
    task_of,
    to_line,
    unpaired,
    write_groups,
)
from trainer.groups.spool import Spool

DIGITS = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen".split()  # noqa: SIM905


async def some(prompt: object = "def inc(x):\n") -> Group:
    reply = [candidate(RIGHT, "pass"), candidate(WRONG, "partial"), candidate(BROKEN, "syntax_error")]
    [group], _ = await made(exchange(*reply, prompt=prompt))  # type: ignore[arg-type]
    return group


def test_the_split_is_the_same_everywhere_and_a_larger_share_only_holds_out_more() -> None:
    names = [f"b2:{number:032x}" for number in range(2000)]
    held = {share: {name for name in names if split_of(name, share) == "held_out"} for share in (0.0, 0.1, 0.3)}
    assert held[0.0] == set()
    assert held[0.1] < held[0.3]
    assert len(held[0.1]) == pytest.approx(200, abs=60)
    assert [number for number in range(60) if names[number] in held[0.1]] == [21, 24, 47, 49, 51]


@pytest.mark.parametrize("name", ["groups.jsonl", "groups.jsonl.gz"])
async def test_groups_are_read_back_as_they_were_written(tmp_path: Path, name: str) -> None:
    groups = [
        await some(),
        await some(chat("Write \ud800 inc.")),
        await some({"kind": "fim", "prefix": "a", "suffix": "b"}),
    ]
    data_hash = await write_groups(given_one_by_one(groups), tmp_path / name)
    assert list(read_groups(tmp_path / name)) == groups
    assert content_hash(tmp_path / name) == data_hash
    assert os.listdir(tmp_path) == [name]


async def given_one_by_one(groups: list[Group]) -> AsyncIterator[Group]:
    for group in groups:
        yield group


async def test_compressed_or_not_the_hash_is_of_the_data(tmp_path: Path) -> None:
    groups = [await some()]
    hashes = {await write_groups(given_one_by_one(groups), tmp_path / name) for name in ("a.jsonl", "b.jsonl.gz")}
    assert len(hashes) == 1


async def test_a_file_that_could_not_be_finished_is_not_there(tmp_path: Path) -> None:
    async def broken() -> AsyncIterator[Group]:
        yield await some()
        raise BadGroups("the sandbox broke")

    with pytest.raises(BadGroups):
        await write_groups(broken(), tmp_path / "groups.jsonl")
    assert os.listdir(tmp_path) == []


async def changed(**changes: object) -> str:
    data = json.loads(to_line(await some()))
    for path, value in changes.items():
        *parts, last = path.split("__")
        place = data
        for part in parts:
            place = place[int(part)] if part.isdigit() else place[part]
        place[last] = value
    return json.dumps(data)


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"version": 2}, "version: 2 is not 1"),
        ({"extra": 1}, "extra: is no field of it"),
        ({"group__split": "test"}, "group.split: Input should be 'train' or 'held_out'"),
        ({"group__colour": 1}, "group.colour: is no field of it"),
        ({"group__responses": None}, "group: is no object with a list of responses"),
        (
            {"group__responses__1__program_class": "fine"},
            "group.responses.1.program_class: Input should be 'syntax_error'",
        ),
        ({"group__responses__1__score": "high"}, "group.responses.1.score: Input should be a valid number"),
        ({"group__responses__0__colour": 1}, "group.responses.0.colour: is no field of it"),
    ],
)
async def test_what_is_wrong_with_a_file_is_named(tmp_path: Path, changes: dict[str, object], fault: str) -> None:
    path = tmp_path / "groups.jsonl"
    path.write_text(to_line(await some()) + "\n" + await changed(**changes) + "\n")
    with pytest.raises(BadGroups) as raised:
        list(read_groups(path))
    assert str(raised.value).startswith(f"{path}, line 2: {fault}")


def test_what_is_no_file_of_groups_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("[1]\n")
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(b"{}" * 900)[:-20])
    (tmp_path / "c.jsonl").write_text("{half")
    for name, fault in (
        ("a.jsonl", "line 1: is not an object"),
        ("b.jsonl.gz", "read"),
        ("c.jsonl", "line 1: key must be a string"),
        ("d", "read"),
    ):
        with pytest.raises(BadGroups, match=fault):
            list(read_groups(tmp_path / name))


def test_rrhfs_files_are_read(tmp_path: Path) -> None:
    path = tmp_path / "rrhf.jsonl"
    path.write_text('{"query": "2+2?", "responses": ["5", "4"], "scores": [-1, 2.5]}\n')
    [group] = read_groups(path)
    assert scores(group) == {"4": 2.5, "5": -1.0}
    assert (group.prompt, group.responses[0].model) == ({"kind": "text", "text": "2+2?"}, "rrhf.jsonl")
    path.write_text('{"query": "2+2?", "responses": ["5"], "scores": []}\n')
    with pytest.raises(BadGroups, match=r"line 1: .*1 responses, but 0 scores"):
        list(read_groups(path))


def contamination(*prompts: str, share: float = 0.5) -> Contamination:
    problems = tuple(Problem(task_id=str(n), prompt=prompt) for n, prompt in enumerate(prompts))
    return Contamination([ProblemSuite(name="held", problems=problems, source="memory")], share)


def text(*words: str) -> dict[str, str]:
    return {"kind": "text", "text": " ".join(words)}


def test_a_problem_is_held_by_its_share_of_runs() -> None:
    check = contamination(" ".join(DIGITS))  # 16 words, 4 runs of 13
    assert check.suite_of(text("Say:", *[word.upper() + "," for word in DIGITS], "please")) == "held"
    assert check.suite_of(text(*DIGITS[:14])) == "held", "2 of 4 runs"
    assert check.suite_of(text(*DIGITS[:13])) is None, "1 of 4 runs"
    assert contamination(" ".join(DIGITS), share=0.01).suite_of(text(*DIGITS[:13])) == "held"
    assert check.suite_of(text(*DIGITS[:8], "and", *DIGITS[8:])) is None


def test_a_short_problem_is_held_by_all_its_words_and_a_very_short_one_by_nothing_else() -> None:
    assert contamination(" ".join(DIGITS[:9])).suite_of(text("say", *DIGITS[:9])) == "held"
    assert contamination(" ".join(DIGITS[:9])).suite_of(text("say", *DIGITS[:8])) is None
    short = contamination("def add(a, b):")
    assert short.suite_of(text("def add(a,  b)")) == "held"
    assert short.suite_of(text("def add(a, b): return")) is None
    assert contamination("...").suite_of(text("")) is None


def test_chats_and_gaps_are_looked_through() -> None:
    check = contamination(" ".join(DIGITS))
    assert check.suite_of(chat("hello", "hello", " ".join(DIGITS))) == "held"
    assert check.suite_of({"kind": "fim", "prefix": " ".join(DIGITS[:7]), "suffix": " ".join(DIGITS[7:])}) == "held"


async def test_pairs_are_trls_records_the_widest_gap_first() -> None:
    group = await some()
    assert list(preferences(group)) == [
        {"prompt": "def inc(x):\n", "chosen": RIGHT, "rejected": BROKEN},
        {"prompt": "def inc(x):\n", "chosen": RIGHT, "rejected": WRONG},
        {"prompt": "def inc(x):\n", "chosen": WRONG, "rejected": BROKEN},
    ]
    assert len(list(preferences(group, margin=1.0))) == 1
    assert len(list(preferences(group, most=2))) == 2
    assert [(row["completion"], row["label"]) for row in unpaired(group)] == [
        (RIGHT, True),
        (WRONG, False),
        (BROKEN, False),
    ]


async def test_pairs_of_chats_are_messages_and_gaps_need_a_layout() -> None:
    [pair, *_] = preferences(await some(chat("Write inc.")))
    assert pair["prompt"] == [{"role": "user", "content": "Write inc."}]
    assert pair["chosen"] == [{"role": "assistant", "content": RIGHT}]
    gap = await some({"kind": "fim", "prefix": "a", "suffix": "b"})
    with pytest.raises(BadGroups, match="render"):
        list(preferences(gap))
    assert next(preferences(gap, render=lambda prompt: prompt["prefix"] + "<>"))["prompt"] == "a<>"


@given(st.lists(st.sampled_from([-1.0, -0.3, 0.5, 1.0]) | st.none(), max_size=6))
def test_ties_make_no_pairs(values: list[float | None]) -> None:
    responses = tuple(
        Response(text=str(n), ended=True, program_class=None, fraction=None, score=value, source="student")
        for n, value in enumerate(values)
    )
    group = Group(prompt={"kind": "text", "text": ""}, prompt_hash="b2:", split="train", responses=responses)
    pairs = list(preferences(group))
    known = [value for value in values if value is not None]
    assert len(pairs) == sum(a != b for n, a in enumerate(known) for b in known[n + 1 :])
    for pair in pairs:
        chosen, rejected = (values[int(pair[name])] for name in ("chosen", "rejected"))
        assert chosen is not None
        assert rejected is not None
        assert chosen > rejected


async def test_the_task_of_a_group_is_the_one_that_was_asked() -> None:
    gap = await some({"kind": "fim", "prefix": "def inc(x):\n    ", "suffix": "\n"})
    task = task_of(gap)
    assert (task.prompt, task.shape, task.prefix, task.suffix) == (
        Fim("def inc(x):\n    ", "\n"),
        "fim",
        "def inc(x):\n    ",
        "\n",
    )
    stdio = StdioSuite((StdioCase("1", "2"), StdioCase("3", "4")))
    [group], _ = await made(exchange(candidate(RIGHT, "pass"), candidate(WRONG, "partial"), suite=stdio))
    assert (task_of(group).whole, task_of(group).suite) == (True, stdio)
    assert group.responses[0].program_class is ProgramClass.PASS


def test_teachers_files_name_what_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "teacher.jsonl"
    good = '{"prompt": "def f():\\n", "completion": "    pass", "model": "big"}\n'
    for line, fault in [
        ('{"completion": "x", "model": "m"}', "needs one of prompt, exchange and task_id"),
        ('{"prompt": "p", "exchange": "e", "completion": "x", "model": "m"}', "needs one of"),
        ('{"prompt": "p", "completion": "x"}', "model: Field required"),
        ('{"prompt": "p", "completion": "x", "model": "m", "score": 1}', "score: Extra inputs"),
        ("{", "line: Invalid JSON"),
    ]:
        path.write_text(good + line + "\n")
        with pytest.raises(BadGroups, match=f"line 2: .*{fault}"):
            read_teachers([path])
    with pytest.raises(BadGroups, match="cannot be read"):
        read_teachers([tmp_path / "none"])


def test_teachers_are_found_by_prompt_in_each_of_its_forms_and_by_exchange(tmp_path: Path) -> None:
    path = tmp_path / "teacher.jsonl.gz"
    lines = [
        {"prompt": "p", "completion": "a", "model": "m"},
        {"prompt": {"kind": "fim", "prefix": "p", "suffix": ""}, "completion": "b", "model": "m"},
        {"exchange": "e-1", "completion": "c", "model": "m"},
        {"task_id": "e-2", "completion": "d", "model": "m"},
    ]
    path.write_bytes(gzip.compress("\n".join(map(json.dumps, lines)).encode()))
    teachers = read_teachers([path])

    def of(prompt: dict[str, object], *exchanges: str) -> list[str]:
        places = teachers.places(prompt_hash(prompt), exchanges)
        return [teachers.solutions[place].completion for place in places]

    assert of({"kind": "text", "text": "p"}) == ["a"]
    assert of(chat("p"), "e-1") == ["a", "c"]
    assert of({"kind": "fim", "prefix": "p", "suffix": ""}) == ["b"]
    assert of({"kind": "text", "text": "q"}, "e-2") == ["d"]


@given(st.lists(st.tuples(st.binary(min_size=16, max_size=16), st.binary(max_size=30)), max_size=40))
def test_the_spool_brings_keys_together(records: list[tuple[bytes, bytes]]) -> None:
    expected: dict[bytes, list[bytes]] = {}
    with Spool(Path("/tmp")) as spool:
        for key, record in records * 2:
            spool.add(key, record)
            expected.setdefault(key, []).append(record)
        entries = list(spool)
        assert [list(entry) for entry in entries] == [expected[key] for key in sorted(expected)]
        assert [list(entry) for entry in reversed(entries)] == [expected[key] for key in sorted(expected, reverse=True)]
        assert sum(map(len, entries)) == spool.records == len(records) * 2


def test_a_spool_on_no_disk_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(BadGroups, match="no temporary files in"), Spool(tmp_path / "none"):
        pass
    with Spool(tmp_path) as spool, open("/dev/full", "wb", buffering=0) as full:
        spool._files = [full] * 64
        with pytest.raises(BadGroups, match="No space left"):
            spool.add(b"k" * 16, b"x")
