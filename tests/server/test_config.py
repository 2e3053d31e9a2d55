"""Configuration: defaults < file < environment < flags; what is wrong is named."""

import re
from pathlib import Path
from typing import Any

import pytest

from engine import SECTIONS
from server.config import Config, ConfigError, load


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def written(text: str, name: str = "touchstone.toml") -> Path:
    path = Path(name)
    path.write_text(text)
    return path


def test_flags_win_over_environment_over_file_over_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    written("state_dir = '/f'\n[server]\nport = 1\ndrain_s = 1\nheartbeat_s = 1\n")
    monkeypatch.setenv("TOUCHSTONE_SERVER__PORT", "2")
    monkeypatch.setenv("TOUCHSTONE_SERVER__DRAIN_S", "2")
    config = load(None, {"server": {"port": 3, "host": None}, "state_dir": None})
    assert (config.server.port, config.server.drain_s, config.server.heartbeat_s) == (3, 2.0, 1.0)
    assert config.server.host == "127.0.0.1"
    assert config.state_dir == Path("/f")


def test_a_file_elsewhere_is_read_when_named() -> None:
    assert load(written("[server]\nport = 7\n", "other.toml")).server.port == 7
    assert load().server.port == 8000


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[server]\nprot = 1\n", "server.prot: unknown key"),
        ("[srever]\nport = 1\n", "srever: unknown section; did you mean server?"),
        ("[bench]\nrounds = 1\n", "bench: unknown section; known: state_dir, server,"),
        ("port = 1\n", "port: unknown section"),
        ("[server]\nport = 'x'\n", "server.port"),
        ("[server]\nport = 70000\n", "server.port"),
        ("[sandbox]\ncpu = 1\n", "sandbox.cpu: unknown key"),
        ("[sandbox]\ntiers = ['A', 'C']\n", "'C'"),
        ("[sandbox]\ntiers = []\n", "sandbox.tiers"),
        ("[server]\ndefault_method = 'luck'\n", "server.default_method"),
        ("[server]\ndefault_candidates = 99\n", "default_candidates"),
        ("[engine]\ntype = 'steam'\n", "engine.type"),
        ("[server\n", "touchstone.toml"),
    ],
)
def test_what_is_wrong_in_the_file_is_named(text: str, named: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(named)):
        load(written(text))


@pytest.mark.parametrize("name", ["TOUCHSTONE_SREVER__PORT", "TOUCHSTONE_SERVER__PROT"])
def test_what_is_wrong_in_the_environment_is_named(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "1")
    with pytest.raises(ConfigError, match=r"SREVER__PORT: unknown section; did you mean server|server\.prot"):
        load()


def test_every_section_is_somebodys() -> None:
    assert set(SECTIONS) == {*Config.model_fields, "trainer"}


def test_other_commands_sections_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOUCHSTONE_DATA", "/somewhere")
    assert load(written("[trainer]\nanything = 1\n")).server.port == 8000


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org"])
def test_an_open_host_is_refused_unless_allowed(host: str) -> None:
    with pytest.raises(ConfigError, match=r"server\.allow_open"):
        load(None, {"server": {"host": host}})
    assert load(None, {"server": {"host": host, "allow_open": True}}).server.host == host


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1", "localhost"])
def test_loopback_is_fine(host: str) -> None:
    assert load(None, {"server": {"host": host}}).server.host == host


def test_secrets_are_masked_and_the_hash_is_of_what_is_printed() -> None:
    flags: dict[str, Any] = {"feedback": {"database_url": "postgresql://u:hunter2@h/d"}}
    config = load(None, flags)
    assert "hunter2" not in config.printable()
    assert config.database_url == "postgresql://u:hunter2@h/d"
    assert config.digest() == load(None, flags).digest() != load().digest()


def test_the_log_is_in_the_state_folder_by_default() -> None:
    assert Config(state_dir=Path("/s")).database_url == "sqlite:////s/touchstone.db"


def test_several_servers_need_a_database_that_they_can_share() -> None:
    with pytest.raises(ConfigError, match=r"server\.replicas: 2 servers cannot share a SQLite file"):
        load(written("[server]\nreplicas = 2\n"))
    shared = written('[server]\nreplicas = 2\n[feedback]\ndatabase_url = "postgresql://log"\n')
    assert load(shared).server.replicas == 2
