"""The loop as its demonstration shows it, small: a served model, traffic by HTTP, a round, what the round decided."""

import json
import subprocess
import sys
import time
from pathlib import Path
from xml.etree import ElementTree

import httpx
import pytest

from engine import ModelStore

pytestmark = pytest.mark.long


@pytest.mark.isolation
def test_the_demonstrated_loop_goes_from_traffic_to_a_decided_round(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "touchstone", "loop", "--demo", "--out", str(tmp_path), "--rounds", "1"]
    command += ["--problems", "40", "--candidates", "12", "--limit", "20", "--samples", "1", "--epochs", "1"]
    command += ["--least", "2"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=400)
    assert done.returncode == 0, done.stdout + done.stderr
    for step in ("groups", "samples", "train", "merge", "convert", "evaluate", "gate", "publish"):
        assert f"\n{step} at " in done.stderr
    [facts] = tmp_path.glob("state/rounds/*/round.json")
    result = json.loads((facts.parent / "result.json").read_text())
    champion = ModelStore(tmp_path / "state").champion()
    assert champion is not None
    assert (result["ending"] == "published") == (champion.id == facts.parent.name)
    assert ("the server answers with touchstone:3.8m-int8.r1" in done.stdout) == (result["ending"] == "published")
    stages = json.loads((tmp_path / "loop.json").read_text())
    assert stages[0]["round"] == 0
    assert ElementTree.parse(tmp_path / "loop.svg").getroot().tag.endswith("svg")
    again = subprocess.run(command, capture_output=True, text=True, check=False, timeout=400)
    assert again.returncode == 0, again.stderr
    assert "its traffic is in the log already" in again.stdout


_SERVING = """
import asyncio, sys, time
from pathlib import Path
from trainer.demo.server import serving

async def main(home):
    async with serving(home / "state", home / "touchstone.toml", home / "server.log") as url:
        print(url, flush=True)
        time.sleep(300)

asyncio.run(main(Path(sys.argv[1])))
"""


def test_a_killed_demonstration_leaves_no_server(tmp_path: Path) -> None:
    (tmp_path / "touchstone.toml").write_text("")
    demonstration = subprocess.Popen([sys.executable, "-c", _SERVING, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert demonstration.stdout is not None
    url = demonstration.stdout.readline().strip()
    assert _answers(url)
    demonstration.kill()
    demonstration.communicate()
    deadline = time.monotonic() + 10
    while _answers(url):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health").status_code == 200
    except httpx.TransportError:
        return False
