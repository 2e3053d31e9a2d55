"""A writer killed with SIGKILL, again and again: what it acknowledged is there, and the log is sound."""

import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from feedback import SqlStore
from feedback.verify import problems

KILLS = 10


def write_until_killed(file: Path, lines: int) -> list[str]:
    """What a writer acknowledged until it was killed, some time after so many lines."""
    command = [sys.executable, "-m", "tests.feedback.writer", str(file)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        acknowledged = [writer.stdout.readline() for _ in range(lines)]
        writer.kill()
        acknowledged += writer.stdout.readlines()
    assert writer.returncode == -signal.SIGKILL
    return [line for line in acknowledged if line.endswith("\n")]


async def test_nothing_acknowledged_is_lost(tmp_path: Path) -> None:
    file, chance = tmp_path / "log.db", random.Random(7)
    acknowledged = [line for _ in range(KILLS) for line in write_until_killed(file, chance.randrange(1, 400))]
    store = SqlStore.open(file)
    stored = {exchange.id: {said.id for said in signals} async for exchange, signals in store.exchanges()}
    for line in acknowledged:
        match line.split():
            case ["exchange", exchange_id]:
                assert exchange_id in stored
            case ["signal", signal_id, "of", exchange_id]:
                assert signal_id in stored[exchange_id]
            case _:
                pytest.fail(f"half a line was acknowledged: {line!r}")
    assert len(acknowledged) > KILLS
    assert [problem async for problem in problems(store)] == []
    await store.aclose()
