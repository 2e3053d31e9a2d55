"""The Kubernetes manifests, as written and as kustomize (kubectl's) renders them."""

from __future__ import annotations

import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

KUBERNETES = Path(__file__).resolve().parents[2] / "deploy" / "kubernetes"
BASE = KUBERNETES / "base"
OVERLAYS = {folder.name: folder for folder in sorted((KUBERNETES / "overlays").iterdir())}
FOREIGN = ("PodMonitor", "RayService")
"""Kinds that are not Kubernetes' own: their fields are compared with what their operators say of them."""
Objects = list[dict[str, Any]]


def written(folder: Path) -> Objects:
    """The objects in a folder's files, without kustomize's own and patches that are no objects."""
    pages = [page for path in sorted(folder.glob("*.yaml")) for page in yaml.safe_load_all(path.read_text())]
    return [page for page in pages if isinstance(page, dict) and page["kind"] != "Kustomization"]


@cache
def rendered(folder: Path) -> Objects:
    """As kustomize makes them."""
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not to be found")
    done = subprocess.run(["kubectl", "kustomize", str(folder)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


def one(objects: Objects, kind: str, name: str = "touchstone") -> dict[str, Any]:
    """The only object of this kind; the one of this name where there are several."""
    found = [each for each in objects if each["kind"] == kind]
    [single] = found if len(found) == 1 else [each for each in found if each["metadata"]["name"] == name]
    return single


def check(objects: Objects) -> None:
    """Against the schemas of the newest API that is known here."""
    for each in objects:
        if each["kind"] not in FOREIGN:
            kubernetes_validate.validate(each, kubernetes_validate.latest_version(), strict=True)


def asks_for_no_rights(pod: dict[str, Any]) -> None:
    """Nothing of the host's, an ordinary user, a read-only root, no capability, a bound on memory, no idle volume."""
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] == 10001
    for container in pod["containers"]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert "memory" in container["resources"]["limits"]
        assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}
