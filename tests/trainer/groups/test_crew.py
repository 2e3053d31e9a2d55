"""Processes that help: the same comes out, in the same order, and nothing of them stays."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterable
from dataclasses import replace
from pathlib import Path
from signal import SIGINT, SIGKILL, Signals

import pytest

from feedback import InvalidExchange
from feedback.export import to_line as to_export
from sandbox import ScriptedSandbox
from tests.trainer.groups.records import RIGHT, WRONG, candidate, exchange, outcome, signal, solution
from trainer import BadGroups
from trainer.groups import Lines, Settings, Tally, Teachers, lines_from
from trainer.groups.crew import ALONE, Crew
from trainer.groups.reading import LINES

pytestmark = pytest.mark.long

MANY = ALONE + 20
HERE = ALONE + 1
"""Items worked on in this process where the others have begun by then."""
GOOD, BAD = candidate(RIGHT, "pass"), candidate(WRONG, "partial")


async def given(items: Iterable[int], crew: Crew[str]) -> AsyncIterator[int]:
    for place, item in enumerate(items):
        while place == HERE and not crew.started:  # noqa: ASYNC110 - the one before had them start
            await asyncio.sleep(0.02)
        yield item


def setup() -> str:
    return "seen by"


def seen(state: str, item: int) -> tuple[str, int, int]:
    return state, item, os.getpid()


def fail(state: str, item: int) -> int:
    if item == MANY - 1:
        raise InvalidExchange(f"item {item}")
    if item == MANY:
        os._exit(1)
    return item


async def test_items_come_back_in_order_from_several_processes() -> None:
    with Crew(2, setup) as crew:
        found = [each async for each in crew.map(seen, given(range(MANY), crew))]
        assert crew.started
    assert [item for _, item, _ in found] == list(range(MANY))
    assert {state for state, _, _ in found} == {"seen by"}
    assert {pid for _, _, pid in found[:HERE]} == {os.getpid()}
    helpers = {pid for _, _, pid in found[HERE:]}
    assert helpers
    assert os.getpid() not in helpers


async def test_a_few_items_or_a_crew_of_one_start_no_process() -> None:
    for size, number in ((2, ALONE), (1, HERE)):
        with Crew(size, setup) as crew:
            assert len([each async for each in crew.map(seen, given(range(number), crew))]) == number
            assert not crew.started


async def test_what_goes_wrong_in_a_process_is_raised_here_in_its_turn() -> None:
    with Crew(2, setup) as crew:
        found = crew.map(fail, given(range(MANY), crew))
        assert [await anext(found) for _ in range(MANY - 1)] == list(range(MANY - 1))
        with pytest.raises(InvalidExchange, match=f"item {MANY - 1}"):
            await anext(found)
    with Crew(2, setup) as crew, pytest.raises(BadGroups, match="was killed"):
        async for _ in crew.map(fail, given([*range(HERE), MANY], crew)):
            pass


CREW = """
import asyncio, sys, time
from tests.trainer.groups.test_crew import MANY, given, seen, setup
from trainer.groups.crew import Crew

async def main():
    with Crew(2, setup) as crew:
        pids = {pid async for _, _, pid in crew.map(seen, given(range(MANY), crew))}
        print(*pids, flush=True)
        await asyncio.sleep(60)

if __name__ == "__main__":
    asyncio.run(main())
"""


@pytest.mark.parametrize("how", [SIGKILL, SIGINT])
def test_no_process_outlives_the_first(how: Signals, tmp_path: Path) -> None:
    script = tmp_path / "crew.py"
    script.write_text(CREW)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE, env=environment, start_new_session=True, text=True
    ) as first:
        assert first.stdout is not None
        pids = [int(pid) for pid in first.stdout.readline().split()]
        assert len(pids) > 1
        if how is SIGINT:
            os.killpg(first.pid, how)  # as a terminal does
        else:
            os.kill(first.pid, how)
        first.wait(20)
    until = time.monotonic() + 20
    while any(Path(f"/proc/{pid}").exists() for pid in pids):
        assert time.monotonic() < until
        time.sleep(0.05)


def log_of(number: int) -> list[str]:
    """Lines of an export: most judged, of several keys, some to be run, one prompt very often and others twice."""
    lines = []
    for place in range(number):
        prompt = "def f(x):\n" if place % 20 == 7 else f"def f{place % (number * 9 // 10)}(x):\n"
        unrun = place % 50 == 0
        asked = exchange(
            GOOD, candidate("    return 2" if unrun else WRONG, None if unrun else "partial"), prompt=prompt
        )
        asked = replace(asked, id=f"cmpl-{place:06}", key_id=(None, "a", "b")[place % 3])
        said = (signal(asked, "edit", "    return x + 2"),) if place % 70 == 0 else ()
        lines.append(to_export(asked, said) + "\n")
    return lines


async def grouped(lines: list[str], folder: Path, processes: int) -> tuple[list[str], Tally]:
    async def log() -> AsyncIterator[Lines]:
        for first in range(0, len(lines), LINES):
            await asyncio.sleep(0.1 if processes > 1 else 0)  # so that the others have begun before the end
            yield Lines("log.jsonl", first + 1, lines[first : first + LINES])

    tally, teachers = Tally(), Teachers()
    teachers.add(solution("    return x + 3"), ["cmpl-000102"])
    teachers.add(solution("    return x + 3"), ["unheard of"])
    made = lines_from(
        log(),
        Settings(max_groups_per_key=300),
        tally=tally,
        scratch=folder,
        sandbox=ScriptedSandbox(outcome("partial")),
        teachers=teachers,
        processes=processes,
    )
    return [line async for line in made], tally


def test_a_crew_makes_the_same_groups(tmp_path: Path) -> None:
    lines = log_of((ALONE + 30) * LINES)
    alone, tally = asyncio.run(grouped(lines, tmp_path, 1))
    together, theirs = asyncio.run(grouped(lines, tmp_path, 2))
    assert together == alone
    assert theirs == tally
    assert (tally.read, tally.keys["a"], tally.keys["b"]) == (len(lines), 300, 300)
    assert tally.ran > 10
    assert tally.responses["solutions for no prompt that was taken"] == 1
    broken = [*lines[:-5], '{"version": 1}\n', *lines[-4:]]
    with pytest.raises(InvalidExchange, match=f"log.jsonl, line {len(lines) - 4}: KeyError"):
        asyncio.run(grouped(broken, tmp_path, 2))
