"""The loop on one machine: traffic, log, round, switch, evaluation; printed as it goes, with the picture at its end.

It begins from a checkpoint of the bundled model that was stopped early, so that there is something to learn. Everything
is real: `touchstone serve` is a process that is spoken to by HTTP, a round is `touchstone train round`.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path

import httpx

from engine import ModelStore, convert_folder, write_json
from reranker.evaluation import GREEDY, RANDOM, Estimate, Problem, Report, write_problems
from trainer.demo.server import served_model, serving
from trainer.demo.traffic import send
from trainer.errors import DemoFailed
from trainer.rounds.cli import NOT_ENOUGH
from trainer.rounds.folder import RoundFolder, Rounds, read_json
from trainer.rounds.pictures import Line, lines, standalone
from trainer.rounds.publish import pairs_of

Say = Callable[[str], None]

EARLY = "touchstone-3.8m-early"
FAMILY, SIZE = "touchstone", "3.8m"
PICTURE = "loop.svg"
_SWITCH_S = 60.0
_SEED = 11
_CONFIG = """# Written by `touchstone loop --demo`.
[server]
champion_poll_s = 1

[trainer]
threads = 1
processes = {processes}

[trainer.groups]
held_out_share = 0.05
least = {least}

[trainer.evaluation]
suites = [{suite}]
n = {samples}

[trainer.recipe]
epochs = {epochs}
rate = {rate}
prompts = 8
responses = 6
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Demo:
    """What is demonstrated."""

    out: Path
    """Folder for state, settings, logs and the picture; a demonstration that was cut short goes on from there."""
    rounds: int = 3
    problems: int = 600
    """Asked before each round, others each time."""
    candidates: int = 16
    """Sampled a problem."""
    limit: int | None = None
    """Of the 200 problems that models are evaluated on."""
    samples: int = 8
    """A problem, for pass@1."""
    epochs: int = 3
    rate: float = 1e-3
    processes: int = 1
    """That train together, a core each."""
    least: int = 32
    """Prompts with something to compare, that a round needs."""
    teacher: bool = False
    """Reference solutions join in as a teacher."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Where the loop stood after so many rounds."""

    round: int
    model: str
    sampled: Estimate
    greedy: Estimate
    groups: int
    minutes: float
    """From the beginning of the round to its end, without the traffic before it."""


async def run(demo: Demo, say: Say) -> list[Stage]:
    """The whole of it. Raises `DemoFailed`, and the errors of rounds."""
    began = time.monotonic()
    demo.out.mkdir(parents=True, exist_ok=True)
    state = demo.out / "state"
    await asyncio.to_thread(_begin, state, say)
    traffic = await asyncio.to_thread(_problems, demo)
    config = _write_config(demo)
    async with (
        serving(state, config, demo.out / "server.log") as url,
        httpx.AsyncClient(base_url=url, timeout=300) as client,
    ):
        say(f"serving {await served_model(client)} on {url}")
        for number in range(1, demo.rounds + 1):
            some = traffic[(number - 1) * demo.problems : number * demo.problems]
            await _traffic(client, demo, number, some, say)
            folder = await _round(demo, state, config, number, some, say)
            await _wait_for(client, folder, say)
    stages = _stages(Rounds(state / "rounds"))
    _tell(stages, demo, say)
    say(f"{(time.monotonic() - began) / 60:.1f} minutes")
    return stages


def _begin(state: Path, say: Say) -> None:
    """The early checkpoint as the champion of a state folder of its own."""
    store = ModelStore(state)
    name = f"{FAMILY}-{SIZE}.r0"
    if not any(model.id == name for model in store.list()):
        say(f"the champion is {EARLY}, converted to int8")
        early = Path(str(files("engine"))) / "bundled" / EARLY
        with store.add(family=FAMILY, size=SIZE, id=name, source=EARLY) as draft:
            shutil.copytree(early / "hf", draft.folder / "hf")
            convert_folder(draft.folder / "hf", draft.folder / "ct2-int8", "int8")
    if not Rounds(state / "rounds").all() and (champion := store.champion()) is not None and champion.id != name:
        store.set_champion(champion.id, name)


def _problems(demo: Demo) -> list[Problem]:
    """Different problems for each round's traffic, none of them of the suite evaluated on."""
    from trainer import bundled

    return bundled.apart(demo.rounds * demo.problems, _SEED)


def _write_config(demo: Demo) -> Path:
    suite = '"bundled"'
    if demo.limit is not None:
        from reranker.evaluation import load_suite

        path = demo.out / "held-out.jsonl"
        write_problems(path, load_suite("bundled").problems[: demo.limit])
        suite = json.dumps(str(path.resolve()))
    text = _CONFIG.format(
        processes=demo.processes,
        least=demo.least,
        suite=suite,
        samples=demo.samples,
        epochs=demo.epochs,
        rate=demo.rate,
    )
    path = demo.out / "touchstone.toml"
    path.write_text(text, encoding="utf-8")
    return path


async def _traffic(client: httpx.AsyncClient, demo: Demo, number: int, some: Sequence[Problem], say: Say) -> None:
    """The traffic before a round; what was sent already, by a demonstration cut short, is not sent again."""
    mark = demo.out / f"traffic-{number}.json"
    if mark.exists():
        say(f"round {number}: its traffic is in the log already")
        return
    began, said = time.monotonic(), 0

    def told(done: int, total: int) -> None:
        nonlocal said
        if done * 4 // total > said:
            said = done * 4 // total
            say(f"round {number}: {done} of {total} problems asked")

    solved = await send(client, some, demo.candidates, told)
    share = 100 * solved / len(some)
    say(f"round {number}: {share:.1f} % of the replies passed their tests, {time.monotonic() - began:.0f} s")
    write_json(mark, {"asked": len(some), "solved": solved})


async def _round(demo: Demo, state: Path, config: Path, number: int, some: Sequence[Problem], say: Say) -> RoundFolder:
    rounds = Rounds(state / "rounds")
    if len(rounds.ended()) < number:
        command = [sys.executable, "-m", "touchstone", "train", "round"]
        command += ["--config", str(config), "--state-dir", str(state)]
        if demo.teacher:
            command += ["--teacher", str(_solutions(demo, number, some))]
        process = await asyncio.create_subprocess_exec(*command)
        try:
            status = await process.wait()
        except BaseException:
            if process.returncode is None:
                process.terminate()
            await process.wait()
            raise
        if status == NOT_ENOUGH:
            raise DemoFailed(
                f"round {number} had too little to learn from; more --problems or --candidates, another --out"
            )
        if len(rounds.ended()) < number:
            raise DemoFailed(f"round {number} ended with {status}; the same command goes on from there")
    else:
        say(f"round {number}: made already")
    return rounds.ended()[number - 1]


def _solutions(demo: Demo, number: int, some: Sequence[Problem]) -> Path:
    """Reference solutions as a teacher's file."""
    path = demo.out / f"solutions-{number}.jsonl"
    rows = [{"prompt": each.prompt, "completion": each.canonical_solution, "model": "reference"} for each in some]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


async def _wait_for(client: httpx.AsyncClient, folder: RoundFolder, say: Say) -> None:
    """Until the server answers with the round's model."""
    result, facts = folder.result, folder.facts
    if result is None or result.ending != "published":
        say(f"round {facts.round} was refused: {result.reason if result else ''}")
        return
    began = time.monotonic()
    try:
        async with asyncio.timeout(_SWITCH_S):
            while not (model := await served_model(client)).endswith(f".r{facts.round}"):  # noqa: ASYNC110
                await asyncio.sleep(0.2)
    except TimeoutError as error:
        raise DemoFailed(f"the server did not switch to {facts.id} within {_SWITCH_S:.0f} s") from error
    say(f"round {facts.round}: the server answers with {model}, {time.monotonic() - began:.1f} s after the round")


def _stages(rounds: Rounds) -> list[Stage]:
    """pass@1 of the first champion and of every round's model."""
    found: list[Stage] = []
    for folder in rounds.ended():
        facts, result = folder.facts, folder.result
        pair = pairs_of(folder.of("evaluate"))[0]
        if not found:
            found.append(_stage(0, pair.champion, 0, 0.0))
        if result is not None and result.ending == "published":
            minutes = (result.finished_at - facts.created_at).total_seconds() / 60
            groups = read_json(folder.of("samples") / "groups.json")["train"]
            found.append(_stage(facts.round, pair.challenger, groups, minutes))
    return found


def _stage(number: int, report: Report, groups: int, minutes: float) -> Stage:
    of = {each.name: each.estimate for each in report.measures() if each.k == 1}
    return Stage(
        round=number,
        model=report.source.model,
        sampled=of[RANDOM],
        greedy=of[GREEDY],
        groups=groups,
        minutes=minutes,
    )


def _tell(stages: Sequence[Stage], demo: Demo, say: Say) -> None:
    say("")
    say("round  groups  minutes  pass@1 sampled        greedy")
    for each in stages:
        said = f"{each.round:5}  {each.groups:6}  {each.minutes:7.1f}  {_percent(each.sampled):20}"
        say(f"{said}  {_percent(each.greedy)}")
    write_json(demo.out / "loop.json", [asdict(each) for each in stages])
    path = demo.out / PICTURE
    path.write_text(picture(stages), encoding="utf-8")
    say(f"the picture is {path}, the rounds' pages are in {demo.out / 'state' / 'rounds'}")


def picture(stages: Sequence[Stage]) -> str:
    """pass@1 by round as an SVG that stands alone."""

    def line(label: str, style: str, of: Callable[[Stage], Estimate]) -> Line:
        return Line(label, style, tuple((s.round, of(s).value, of(s).low, of(s).high) for s in stages))

    drawn = [
        line("one sample", "method0", lambda stage: stage.sampled),
        line("greedy", "method1", lambda stage: stage.greedy),
    ]
    svg = lines(drawn, name="Held-out pass@1 by round", across="round", percent=True)
    return standalone(svg, drawn)


def _percent(estimate: Estimate) -> str:
    return f"{100 * estimate.value:.1f} [{100 * estimate.low:.1f}, {100 * estimate.high:.1f}]"
