"""Images built by Debian's buildah and run by its podman and runc, as root, without a registry."""

from __future__ import annotations

import json
import os
import resource
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ("buildah", "podman", "runc", "mmdebstrap")
_SLIM = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*")
_ULIMITS = (("nofile", resource.RLIMIT_NOFILE), ("nproc", resource.RLIMIT_NPROC))


def missing() -> str | None:
    """What keeps this host from building and running images; None: nothing that can be told beforehand."""
    if os.geteuid() != 0:
        return "root is needed"
    absent = [tool for tool in TOOLS if shutil.which(tool) is None]
    return f"missing: apt-get install --no-install-recommends {' '.join(absent)}" if absent else None


def base_name() -> str:
    """The base image that the Dockerfile names."""
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    return next(line.removeprefix("ARG BASE=") for line in lines if line.startswith("ARG BASE="))


class Images:
    """A storage of images of its own, in one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._where = ["--root", str(folder / "images"), "--runroot", str(folder / "run")]

    def make_base(self) -> None:
        """Make the Dockerfile's base image, if it is not there, of the same packages under the same name."""
        if self._buildah("images", "--quiet", "--filter", f"reference={base_name()}").strip():
            return
        archive = self._folder / "base.tar"
        suite = base_name().partition(":")[2].split("-")[0]
        left_out = [f"--dpkgopt=path-exclude={path}" for path in _SLIM]
        command = ["mmdebstrap", "--quiet", "--mode=root", "--variant=minbase", *left_out, suite, str(archive)]
        subprocess.run(command, check=True)
        container = self._buildah("from", "scratch").strip()
        self._buildah("add", container, str(archive), "/")
        self._buildah("config", "--cmd", "bash", container)
        self._buildah("commit", "--quiet", "--rm", container, base_name())
        archive.unlink()

    def build(self, stage: str) -> str:
        """Build a stage of the Dockerfile and return the image's name. Its output goes to standard error."""
        name = f"localhost/touchstone:{stage}"
        volumes, settings = pip_settings()
        (self._folder / "pip.conf").write_text(settings)
        command = [
            *("buildah", *self._where, "build", "--isolation=chroot", "--pull-never", "--layers", "--format=docker"),
            *(f"--volume={volume}" for volume in volumes),
            *("--secret", f"id=pip,src={self._folder / 'pip.conf'}"),
            *("--target", stage, "--tag", name, str(ROOT)),
        ]
        subprocess.run(command, check=True, stdout=2)
        return name

    def inspect(self, name: str) -> dict[str, Any]:
        """All that is known of an image."""
        found: list[dict[str, Any]] = json.loads(self.podman("image", "inspect", name))
        return found[0]

    def run_command(self, name: str, *options: str) -> list[str]:
        """`podman run` with the least rights that an image may be given: the command up to the container's own."""
        return [
            *("podman", *self._where, "--cgroup-manager=cgroupfs", "run", "--runtime=runc", "--network=host"),
            *("--pull=never", "--read-only", "--cap-drop=all", "--security-opt=no-new-privileges"),
            *(f"--ulimit={kind}={most}:{most}" for kind, most in _limits()),
            *(*options, name),
        ]

    def close(self) -> None:
        """Let go of what buildah and podman leave mounted below the folder, so that it can be deleted."""
        mounted = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
        for path in reversed(mounted):  # the inner ones first
            if Path(path).is_relative_to(self._folder):
                subprocess.run(["umount", path], check=True)

    def podman(self, *arguments: str) -> str:
        """What a command of podman's prints. Raises `CalledProcessError`."""
        return _output(["podman", *self._where, "--cgroup-manager=cgroupfs", *arguments])

    def _buildah(self, *arguments: str) -> str:
        return _output(["buildah", *self._where, *arguments])


def _limits() -> list[tuple[str, int]]:
    """podman's own defaults are above what a host that is a container itself may hand out."""
    return [(kind, min(resource.getrlimit(number)[1] % 2**63, 16_384)) for kind, number in _ULIMITS]


def pip_settings() -> tuple[list[str], str]:
    """How pip finds its packages on this host, as a pip.conf, and the volumes that it speaks of."""
    settings: dict[str, str] = {}
    for line in _output(["pip", "config", "list"]).splitlines():
        name, _, value = line.partition("=")
        kind, _, key = name.rpartition(".")
        if kind in ("global", ":env:") and key in (
            "cert",
            "index-url",
            "extra-index-url",
            "timeout",
            "default-timeout",
        ):
            settings[key] = shlex.split(value)[0]
    volumes = []
    for key, value in settings.items():
        for path in (word.removeprefix("file://") for word in value.split()):
            if path.startswith("/") and Path(path).exists():
                # Below a folder of their own: a certificate in its usual place is in the way of its package. An index
                # speaks of files beside it.
                shown = str(Path(path).parent) if key.endswith("index-url") else path
                volumes.append(f"{shown}:/run/pip{shown}:ro")
                settings[key] = settings[key].replace(path, f"/run/pip{path}")
    lines = "".join(f"{key} = {value}\n" for key, value in settings.items())
    return volumes, f"[global]\n{lines}"


def _output(command: Sequence[str]) -> str:
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
