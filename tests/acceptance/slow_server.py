"""`touchstone serve` with an engine that takes its time: everything is the real process except the scripted delays.

A script in a file holds text only, so the engine is made here and handed to the same composition root.
"""

import argparse
from functools import partial
from pathlib import Path

from engine import Engine, Scripted, ScriptedEngine
from server.build import build
from server.config import Config, load
from server.run import Process

SCRIPT = {
    "slow": [Scripted("x" * 40, delay_s=0.05)],
    "endless": [Scripted("x" * 5000, delay_s=0.05)],
    "brisk": [Scripted("x" * 40, delay_s=0.005)],
    "late": [Scripted("x", delay_s=3.0)],
}


async def slow_engine(_: Config) -> Engine:
    return ScriptedEngine(SCRIPT)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int)
    parser.add_argument("--config", type=Path)
    parser.add_argument("--state-dir", type=Path)
    args = parser.parse_args()
    config = load(args.config, {"server": {"port": args.port}, "state_dir": args.state_dir})
    Process(config, partial(build, make_engine=slow_engine)).run()


if __name__ == "__main__":
    main()
