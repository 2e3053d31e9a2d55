import asyncio
import shutil
from pathlib import Path

import pytest

from tests.trainer.rounds.made import config_of, make_all, settings
from trainer.rounds.round import run_round
from trainer.rounds.told import Silent


class _Stop(Silent):
    """Stands for a round that was cut short when the gate was to speak."""

    def begin(self, step: str) -> None:
        if step == "gate":
            raise KeyboardInterrupt


@pytest.fixture(scope="session")
def _made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    state = tmp_path_factory.mktemp("rounds") / "state"
    state.mkdir()
    make_all(state)
    return state


@pytest.fixture(scope="session")
def _evaluated(_made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    state = tmp_path_factory.mktemp("evaluated") / "state"
    shutil.copytree(_made, state)
    with pytest.raises(KeyboardInterrupt):
        asyncio.run(run_round(config_of(state), _Stop()))
    return state


@pytest.fixture
def state(_made: Path, tmp_path: Path) -> Path:
    """A state folder of one's own: champion, log, suite, settings."""
    return _copied(_made, tmp_path)


@pytest.fixture
def evaluated(_evaluated: Path, tmp_path: Path) -> Path:
    """The same with a round that was cut short before its gate."""
    return _copied(_evaluated, tmp_path)


def _copied(made: Path, tmp_path: Path) -> Path:
    copy = tmp_path / "state"
    shutil.copytree(made, copy)
    settings(copy)
    return copy
