"""The Kubernetes manifests against the schemas of its API, as written and as kustomize (kubectl's) renders them."""

import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from server.config import ServerConfig

KUBERNETES = Path(__file__).resolve().parents[2] / "deploy" / "kubernetes"
BASE = KUBERNETES / "base"
ROOTS = [BASE, *sorted((KUBERNETES / "overlays").iterdir())]
OURS = {"touchstone": "servers", "touchstone-train": "rounds"}
Objects = list[dict[str, Any]]


def written(folder: Path) -> Objects:
    found = [yaml.safe_load(path.read_text()) for path in sorted(folder.glob("*.yaml"))]
    return [each for each in found if each["kind"] != "Kustomization"]


def rendered(folder: Path) -> Objects:
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not to be found")
    done = subprocess.run(["kubectl", "kustomize", str(folder)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


def one(objects: Objects, kind: str) -> dict[str, Any]:
    [found] = [each for each in objects if each["kind"] == kind]
    return found


def pods(objects: Objects) -> dict[str, dict[str, Any]]:
    """The pods' specs by the name of what makes them."""
    job = one(objects, "CronJob")
    deployment = one(objects, "Deployment")
    return {
        deployment["metadata"]["name"]: deployment["spec"]["template"]["spec"],
        job["metadata"]["name"]: job["spec"]["jobTemplate"]["spec"]["template"]["spec"],
    }


def check(objects: Objects) -> None:
    for each in objects:
        if each["kind"] != "PodMonitor":  # no kind of Kubernetes' own, see below
            kubernetes_validate.validate(each, kubernetes_validate.latest_version(), strict=True)


def test_every_file_is_used_and_valid() -> None:
    check(written(BASE))
    for root in ROOTS:
        kustomization = yaml.safe_load((root / "kustomization.yaml").read_text())
        assert set(kustomization) <= {"apiVersion", "kind", "labels", "resources", "patches"}
        named = {*kustomization["resources"], *(patch["path"] for patch in kustomization.get("patches", []))}
        assert {path.name for path in root.glob("*.yaml")} - {"kustomization.yaml"} == named - {"../../base"}


@pytest.mark.parametrize("root", ROOTS, ids=lambda root: root.name)
def test_as_rendered_it_is_valid_and_asks_for_no_rights(root: Path) -> None:
    objects = rendered(root)
    check(objects)
    for name, pod in pods(objects).items():
        assert name in OURS
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] == 10001
        for container in pod["containers"]:
            context = container["securityContext"]
            assert context == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert "memory" in container["resources"]["limits"]
            mounted = {mount["name"] for mount in container["volumeMounts"]}
            assert mounted == {volume["name"] for volume in pod["volumes"]}


def test_what_the_overlays_change() -> None:
    base, gpu, gvisor, tier_a = (pods(rendered(root))["touchstone"] for root in ROOTS)
    assert base["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert gpu["containers"][0]["image"] == "touchstone:gpu"
    assert gpu["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert one(rendered(ROOTS[2]), "RuntimeClass")["metadata"]["name"] == gvisor["runtimeClassName"] == "gvisor"
    assert tier_a["securityContext"]["seccompProfile"]["type"] == "Localhost"
    for other in (gpu, gvisor, tier_a):
        assert [env["name"] for env in other["containers"][0]["env"]] == ["TOUCHSTONE_FEEDBACK__DATABASE_URL"]
        assert len(other["containers"][0]["volumeMounts"]) >= len(base["containers"][0]["volumeMounts"])


def test_who_finds_whom() -> None:
    objects = written(BASE)
    labels = one(objects, "Deployment")["spec"]["template"]["metadata"]["labels"]
    assert one(objects, "Service")["spec"]["selector"] == labels
    assert one(objects, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"] == labels
    scaled = one(objects, "HorizontalPodAutoscaler")["spec"]
    assert scaled["scaleTargetRef"]["name"] == one(objects, "Deployment")["metadata"]["name"]
    [metric] = scaled["metrics"]
    page = (KUBERNETES.parents[1] / "docs" / "metrics.md").read_text()
    assert f"`{metric['pods']['metric']['name']}`" in page
    ports = {
        port["name"] for pod in pods(objects).values() for each in pod["containers"] for port in each.get("ports", [])
    }
    assert {one(objects, "Service")["spec"]["ports"][0]["targetPort"]} <= ports


def test_the_monitor_has_the_fields_of_the_operators_api() -> None:
    objects = written(BASE)
    monitor = one(objects, "PodMonitor")
    assert (monitor["apiVersion"], set(monitor["spec"])) == (
        "monitoring.coreos.com/v1",
        {"selector", "podMetricsEndpoints"},
    )
    assert monitor["spec"]["selector"] == one(objects, "Deployment")["spec"]["selector"]
    [endpoint] = monitor["spec"]["podMetricsEndpoints"]
    assert endpoint["port"] in {port["name"] for port in pods(objects)["touchstone"]["containers"][0]["ports"]}
    assert (endpoint["path"], endpoint["interval"]) == ("/metrics", "15s")
    assert set(endpoint["authorization"]) == {"credentials"}  # a SafeAuthorization; its type is Bearer unless said
    assert set(endpoint["authorization"]["credentials"]) == {"name", "key"}  # a SecretKeySelector


def test_the_configuration_is_one_and_times_fit() -> None:
    objects = written(BASE)
    text = one(objects, "ConfigMap")["data"]["touchstone.toml"]
    server = ServerConfig(**tomllib.loads(text)["server"])
    pod = pods(objects)["touchstone"]
    slept = int(pod["containers"][0]["lifecycle"]["preStop"]["exec"]["command"][1])
    assert pod["terminationGracePeriodSeconds"] >= slept + server.drain_s + 10
    most = one(objects, "HorizontalPodAutoscaler")["spec"]["maxReplicas"]
    surge = one(objects, "Deployment")["spec"]["strategy"]["rollingUpdate"]["maxSurge"]
    assert server.replicas == most + surge


def test_no_secret_is_written_down() -> None:
    for path in KUBERNETES.rglob("*.yaml"):
        text = path.read_text()
        assert "kind: Secret\n" not in text
        assert not re.search(r"postgres(ql)?://", text)
