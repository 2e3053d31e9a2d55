"""Each kind of host shows a command what its name says, so that tests run there mean something."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.sandbox.hosts import DOCKER_CAPABILITIES, KINDS, USER, Kind, as_host, python_on, why_not

REPOSITORY = Path(__file__).parents[2]
LOOK = f"""
import ctypes, errno, json, os, sys
sys.path.insert(0, {str(REPOSITORY)!r})
from sandbox.inside import landlock
libc = ctypes.CDLL(None, use_errno=True)

def attempt(function, *arguments):
    return errno.errorcode[ctypes.get_errno()] if function(*arguments) < 0 else None

status = dict(line.split(":", 1) for line in open("/proc/self/status"))
seen = {{
    "user": os.geteuid(),
    "effective": int(status["CapEff"], 16),
    "bounding": int(status["CapBnd"], 16),
    "promised": int(status["NoNewPrivs"]),
    "landlock": landlock.abi() > 0,
    "clone3": attempt(libc.syscall, 435, 0, 0),
    "keyctl": attempt(libc.syscall, 219 if os.uname().machine == "aarch64" else 250, 0, -3, 0),
    "tmpfs": attempt(libc.mount, b"none", b"/tmp", b"nosuch", 0, None),
    "fork": os.waitpid(os.fork() or os._exit(0), 0)[1],
    "user namespace": attempt(libc.unshare, 0x10000000),
}}
print(json.dumps(seen))
"""


def look(kind: Kind) -> dict[str, Any]:
    if reason := why_not(kind):
        pytest.skip(reason)
    command = as_host(kind, [str(python_on(kind)), "-I", "-S", "-c", LOOK])
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd="/")
    assert done.returncode == 0, done.stderr
    seen: dict[str, Any] = json.loads(done.stdout)
    return seen


@pytest.mark.parametrize("kind", KINDS)
def test_who_one_is(kind: Kind) -> None:
    seen = look(kind)
    assert seen["user"] == (USER if kind in ("user", "docker-user", "no-namespaces") else 0)
    assert seen["promised"] == 0
    assert seen["fork"] == 0
    if kind in ("docker", "no-landlock"):
        assert seen["effective"] == seen["bounding"] == DOCKER_CAPABILITIES
    elif kind != "root":
        assert seen["effective"] == 0
    if kind == "docker-user":
        assert seen["bounding"] == DOCKER_CAPABILITIES


@pytest.mark.parametrize("kind", ["root", "user"])
def test_a_host_grants_namespaces(kind: Kind) -> None:
    seen = look(kind)
    if seen["user namespace"]:
        pytest.skip(f"this host itself refuses user namespaces: {seen['user namespace']}")
    assert seen["clone3"] != "ENOSYS"


@pytest.mark.parametrize("kind", ["docker", "docker-user", "no-landlock"])
def test_a_container_refuses_namespaces_mounts_and_keys(kind: Kind) -> None:
    seen = look(kind)
    assert (seen["user namespace"], seen["tmpfs"], seen["keyctl"]) == ("EPERM", "EPERM", "EPERM")
    assert seen["clone3"] == "ENOSYS"


def test_namespaces_may_be_switched_off() -> None:
    assert look("no-namespaces")["user namespace"] == "ENOSPC"


def test_a_kernel_may_lack_landlock() -> None:
    if not look("root")["landlock"]:
        pytest.skip("this host has no Landlock")
    assert look("docker")["landlock"]
    assert look("docker-user")["landlock"]
    assert look("user")["landlock"]
    assert not look("no-landlock")["landlock"]


def test_the_unshare_command_fails_as_in_a_container() -> None:
    if reason := why_not("docker"):
        pytest.skip(reason)
    done = subprocess.run(as_host("docker", ["unshare", "-U", "true"]), capture_output=True, text=True, timeout=60)
    assert done.returncode != 0
    assert "not permitted" in done.stderr
