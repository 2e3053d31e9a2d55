"""`touchstone doctor`: one page or one object, and an exit code that says whether serving with tests works."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from engine import EngineConfig, ScriptedEngine
from server import Config
from server import doctor_checks as checks
from server.doctor_checks import Data
from server.doctor_page import print_page
from tests.engine.upstream_server import KEY, Upstream, serve

ROOT = Path(__file__).parents[2]


def doctor(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, ROOT / "touchstone.py", "doctor", "--state-dir", str(folder / "state"), *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TOUCHSTONE_SERVER__PORT": "0", **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_says_how_the_install_stands(tmp_path: Path) -> None:
    done = doctor(tmp_path, "--json")
    found = json.loads(done.stdout)
    assert done.returncode == (0 if found["serves_with_tests"] else 1)
    assert found["serves_with_tests"] is (found["sandbox"]["tier"] is not None)
    assert found["problems"] == ([] if found["serves_with_tests"] else [found["sandbox"]["problem"]])
    assert found["languages"]["python"]["problem"] is None
    assert set(found["languages"]) == {"python", "cpp", "java", "javascript", "verilog"}
    assert found["engine"]["libraries"]["ctranslate2"]
    assert found["model"]["conversions"] == ["int8"]
    assert found["host"]["cores"] >= 1
    assert (found["log"]["kind"], found["log"]["exchanges"], found["log"]["outbox"]) == ("sqlite", 0, None)
    assert "problem" in found["cgroup"]
    assert found["fim"]["text"] == "starcoder"
    assert found["dtype"]["text"].startswith("auto: int8 or float32")  # nothing was measured in this folder
    assert found["keys"] == {
        "text": "none: whoever reaches 127.0.0.1 may do everything",
        "problem": None,
        "fix": "touchstone keys create NAME",
    }
    assert set(found["engines"]) == {"ctranslate2", "cpu", "vllm", "transformers", "openai", "scripted"}
    assert "GiB free" in found["disk"]["text"]
    assert found["upstream"] is None
    page = doctor(tmp_path)
    assert page.returncode == done.returncode
    assert found["choice"] is None
    words = "touchstone python host sandbox cgroup languages engine model log dtype fim disk gpu keys port telemetry"
    for word in words.split():
        assert any(line.startswith(word) for line in page.stdout.splitlines())
    assert "\x1b" not in page.stdout
    assert not (tmp_path / "state").exists()  # it looked and changed nothing


def test_says_what_keeps_it_from_serving_with_tests(tmp_path: Path) -> None:
    (tmp_path / "touchstone.toml").write_text("[sandbox]\nenabled = false\n[engine]\nmodel = 'no-such:1b-int8'\n")
    done = doctor(tmp_path)
    assert done.returncode == 1
    assert "switched off by sandbox.enabled" in done.stdout
    assert "no-such" in done.stdout
    assert "does not work yet" in done.stdout
    done = doctor(tmp_path, "--json")
    assert len(json.loads(done.stdout)["problems"]) == 2


def test_a_bad_configuration_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    done = doctor(tmp_path, TOUCHSTONE_SANDBOX__TIERS='["C"]')
    assert (done.returncode, done.stdout) == (2, "")
    assert "sandbox.tiers" in done.stderr


def test_what_is_missing_is_said_with_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    print_page(
        {
            "touchstone": "1",
            "python": {"version": "3.12", "executable": "python"},
            "host": {"system": "Linux", "cores": 2, "memory_bytes": 2**30},
            "sandbox": {
                "tier": "B",
                "facts": {"network_denied": "True", "landlock_abi": "7", "cgroup": "False"},
                "stronger_refused": ["tier A: unshare: Operation not permitted"],
                "how_to_fix": ["allow unprivileged user namespaces"],
                "problem": None,
            },
            "cgroup": {"problem": "Permission denied"},
            "languages": {
                "python": {"problem": None, "how_to_fix": []},
                "java": {"problem": "Java needs javac, which is not installed", "how_to_fix": ["apt-get install jdk"]},
            },
            "engine": {"type": "transformers", "libraries": {"torch": None}, "problem": "which needs torch"},
            "model": {"name": "m", "folder": "/m", "conversions": [], "problem": None},
            "log": {
                "kind": "postgresql",
                "exchanges": None,
                "outbox": 3,
                "problem": "away",
                "how_to_fix": ["start it"],
            },
            "serves_with_tests": False,
        }
    )
    page = capsys.readouterr().out
    for words in (
        "tier B only",
        "not a stronger one: tier A: unshare",
        "to fix: allow unprivileged user namespaces",
        "Permission denied",
        "apt-get install jdk",
        "need tier A",
        "torch not installed",
        "which needs torch",
        "log         away",
        "to fix: start it",
    ):
        assert words in page


def test_an_upstream_is_asked_whether_it_answers() -> None:
    def asked(url: str, key: str | None = KEY) -> Data:
        upstream = {"base_url": url, "api_key": key}
        found = checks.upstream(EngineConfig.model_validate({"type": "openai", "upstream": upstream}))
        assert found is not None
        return found

    with serve(Upstream(ScriptedEngine({})).app()) as url:
        assert asked(f"{url}/v1")["problem"] is None
        assert "refuses the API key" in asked(f"{url}/v1", None)["problem"]
    gone = asked(f"{url}/v1")
    assert "cannot be reached" in gone["problem"]
    assert "engine.upstream.base_url" in gone["fix"]
    assert checks.upstream(EngineConfig()) is None


def test_a_port_is_free_or_taken(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        number = other.getsockname()[1]
        config = Config.model_validate({"state_dir": tmp_path, "server": {"port": number}})
        taken = checks.port(config)
    assert str(number) in taken["problem"]
    assert "--port 0" in taken["fix"]
    assert checks.port(config)["problem"] is None


def test_engines_gpu_and_telemetry_are_told_with_their_fix() -> None:
    for wanted, problem in (("transformers", "lacks torch"), ("ctranslate2", None)):
        found = checks.engines(wanted, lambda name: ["torch"] if name == "transformers" else [])["transformers"]
        assert found == {"text": "lacks torch", "problem": problem, "fix": "pip install 'touchstone[transformers]'"}
    assert checks.gpu(EngineConfig())["problem"] is None
    if checks.gpu(EngineConfig())["text"].startswith("none"):
        assert "engine.device" in checks.gpu(EngineConfig(device="cuda"))["problem"]
    assert checks.telemetry({})["text"] == "off"
    refused = checks.telemetry({"OTEL_TRACES_EXPORTER": "zipkin"})
    assert "OTEL_TRACES_EXPORTER=zipkin" in refused["text"]
    assert checks.telemetry({"OTEL_TRACES_EXPORTER": "otlp"})["text"].startswith("traces")


def test_the_choice_of_an_engine_is_told_and_how_to_measure(tmp_path: Path) -> None:
    assert checks.choice(Config(state_dir=tmp_path)) is None
    found = checks.choice(Config(state_dir=tmp_path, engine=EngineConfig(type="auto")))
    assert found is not None
    assert found["text"].startswith("ctranslate2, the default: nothing was measured of this model")
    assert found["fix"].startswith("touchstone bench table --row auto --limit 0")
    assert found["problem"] is None


def test_a_full_or_closed_state_folder_is_a_problem(tmp_path: Path) -> None:
    assert checks.disk(Config(state_dir=tmp_path / "not" / "there"))["problem"] is None
    if os.geteuid():
        (tmp_path / "closed").mkdir(mode=0o500)
        assert "cannot be written" in checks.disk(Config(state_dir=tmp_path / "closed" / "state"))["problem"]
    found = checks.gaps(tmp_path)
    assert found is not None
    assert found["text"].startswith("none")
