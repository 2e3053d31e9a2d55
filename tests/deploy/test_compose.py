"""The compose file: what it mounts is there, it holds no secret and gives no rights away. No engine runs it here."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]


def test_it_is_what_the_specification_of_compose_files_allows() -> None:
    checker = Path(sys.executable).with_name("check-jsonschema")
    command = [str(checker), "--builtin-schema", "vendor.compose-spec", str(DEPLOY / "compose.yml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_the_services() -> None:
    assert set(SERVICES) == {"touchstone", "postgres", "prometheus", "grafana"}
    assert SERVICES["touchstone"]["depends_on"] == {"postgres": {"condition": "service_healthy"}}


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_confined_and_looked_after(name: str) -> None:
    service = SERVICES[name]
    assert not {"privileged", "network_mode", "pid", "ipc", "devices", "userns_mode"} & set(service)
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges" in service["security_opt"]
    assert service["healthcheck"]["test"][0] == "CMD"
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
    assert re.search(r":v?\d+\.\d+|^touchstone:serve$", service["image"])
    assert set(service["depends_on"]) <= set(SERVICES) if "depends_on" in service else name == "postgres"


@pytest.mark.parametrize("name", SERVICES)
def test_what_a_service_mounts_is_there(name: str) -> None:
    for volume in SERVICES[name]["volumes"]:
        source = volume.split(":")[0]
        assert (DEPLOY / source).exists() if source.startswith(".") else source in COMPOSE["volumes"], volume


def test_secrets_come_from_the_environment_and_are_asked_for() -> None:
    asked = {
        line.split("=")[0] for line in (DEPLOY / "example.env").read_text().splitlines() if line[:1] not in ("#", "")
    }
    assert all(line.endswith("=") for line in (DEPLOY / "example.env").read_text().splitlines() if line[:1] != "#")
    text = (DEPLOY / "compose.yml").read_text()
    assert set(re.findall(r"\$\{(\w+):\?", text)) == asked
    for service in SERVICES.values():
        for variable, value in service.get("environment", {}).items():
            if re.search("PASSWORD|SECRET|TOKEN|KEY", variable):
                assert value.startswith("${"), variable


def test_the_settings_are_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from server.config import load

    monkeypatch.chdir(tmp_path)
    for variable, value in SERVICES["touchstone"]["environment"].items():
        monkeypatch.setenv(variable, re.sub(r"\$\{.*?\}", "s3cret", value))
    config = load(None, {"server": {"host": "0.0.0.0"}, "state_dir": tmp_path})
    assert config.server.hosts == ("touchstone",)
    assert config.database_url == "postgresql://touchstone:s3cret@postgres/touchstone"
    assert "s3cret" not in json.dumps(config.printable())
