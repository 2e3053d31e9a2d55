"""What the images are made of: the Dockerfile, the locks, the seccomp profile. They are built by `make test-image`."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from deploy.seccomp import REFUSED, SANDBOX, profile
from tests.sandbox import hosts

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
STAGES = ("serve", "gpu", "train", "ray")
PROFILE = json.loads((ROOT / "deploy/seccomp.json").read_text())
DEFAULT = Path("/usr/share/containers/seccomp.json")


def test_the_linter_finds_nothing() -> None:
    linter = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([linter, "--no-color", ROOT / "Dockerfile"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_a_pinned_base_nothing_from_elsewhere_and_no_root() -> None:
    assert re.search(r"^ARG BASE=\S+:\w+-\d{8}-slim$", DOCKERFILE, re.MULTILINE)
    stages = re.findall(r"^FROM (\S+) AS (\S+)$", DOCKERFILE, re.MULTILINE)
    names = [name for _, name in stages]
    assert set(STAGES) <= set(names)
    assert {base for base, _ in stages} <= {"${BASE}", *names}
    assert not re.search(r"^ADD |https?://|\b(curl|wget) -", DOCKERFILE, re.MULTILINE)
    users = re.findall(r"^USER (\S+)$", DOCKERFILE, re.MULTILINE)
    # Root while a package is installed over the runtime, and not after.
    assert users == ["10001:10001", "0:0", "10001:10001", "0:0", "10001:10001"]


def test_the_wheels_sources_are_let_through() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    let_through = (ROOT / ".dockerignore").read_text().split()
    wheel = settings["tool"]["hatch"]["build"]["targets"]["wheel"]["only-include"]
    for name in {*wheel, "pyproject.toml", settings["project"]["readme"], *settings["project"]["license-files"]}:
        assert any(line.split("/")[0] == f"!{name}" for line in let_through), name


@pytest.mark.parametrize(("stage", "extra"), [("serve", None), ("gpu", "vllm"), ("train", "train"), ("ray", "ray")])
def test_a_lock_is_of_what_the_project_asks_for_and_has_hashes(stage: str, extra: str | None) -> None:
    text = (ROOT / f"deploy/image/{stage}.txt").read_text()
    pins = dict(re.findall(r"^([\w.-]+)==([^ \n;]+)", text, re.MULTILINE))
    assert len(re.findall(r"^\S+==.*\\\n +--hash=sha256:[0-9a-f]{64}", text, re.MULTILINE)) == len(pins)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = ("postgres", "otel", *([extra] if extra else []))
    wanted = [*project["dependencies"], *(line for name in extras for line in project["optional-dependencies"][name])]
    for line in wanted:
        requirement = Requirement(line)
        if requirement.name != "touchstone":
            assert requirement.specifier.contains(pins[requirement.name]), f"{line}: make image-locks"


def test_the_profile_is_made_of_the_default() -> None:
    if not DEFAULT.exists():
        pytest.skip(f"no {DEFAULT}: apt-get install golang-github-containers-common")
    default = json.loads(DEFAULT.read_text())
    assert profile(default) == PROFILE
    without = profile(default, ())["syscalls"]
    assert set(SANDBOX) & set(without[0]["names"]) == set()
    clone = next(rule for rule in without if rule["names"] == ["clone"])
    assert clone["args"][0]["value"] == hosts._CLONE_NEW


def test_the_profile_allows_what_namespaces_need_and_else_what_docker_does() -> None:
    allowed = {name for rule in PROFILE["syscalls"] if rule["action"] == "SCMP_ACT_ALLOW" for name in rule["names"]}
    assert set(SANDBOX) <= allowed
    assert set(hosts._DENIED) & allowed <= set(SANDBOX)
    assert set(hosts._DENIED) <= {*REFUSED, "lookup_dcookie"}
    assert {"landlock_create_ruleset", "seccomp", "prctl"} <= allowed
    assert not any(rule.get("includes") or rule.get("excludes") for rule in PROFILE["syscalls"])
