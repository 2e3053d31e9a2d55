"""The Kubernetes manifests against the schemas of its API, as written and as kustomize (kubectl's) renders them."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from server.config import ServerConfig
from tests.deploy.manifests import (
    BASE,
    KUBERNETES,
    OVERLAYS,
    Objects,
    asks_for_no_rights,
    check,
    one,
    rendered,
    written,
)

ROOTS = [BASE, *OVERLAYS.values()]
SERVERS = [root for root in ROOTS if not root.name.startswith("ray")]
"""Those whose servers are a Deployment."""
OURS = {"touchstone": "servers", "touchstone-train": "rounds"}


def pods(objects: Objects) -> dict[str, dict[str, Any]]:
    """The pods' specs by the name of what makes them."""
    job = one(objects, "CronJob")
    deployment = one(objects, "Deployment")
    return {
        deployment["metadata"]["name"]: deployment["spec"]["template"]["spec"],
        job["metadata"]["name"]: job["spec"]["jobTemplate"]["spec"]["template"]["spec"],
    }


def test_every_kind_that_was_asked_for_is_there() -> None:
    kinds = {each["kind"] for root in ROOTS for each in rendered(root)}
    assert kinds >= {"Deployment", "Service", "HorizontalPodAutoscaler", "PodMonitor", "NetworkPolicy", "CronJob"}
    assert kinds >= {"PersistentVolumeClaim", "RuntimeClass", "RayService", "PodDisruptionBudget", "ConfigMap"}


def test_every_file_is_used_and_valid() -> None:
    check(written(BASE))
    for root in ROOTS:
        kustomization = yaml.safe_load((root / "kustomization.yaml").read_text())
        assert set(kustomization) <= {"apiVersion", "kind", "labels", "resources", "patches"}
        named = {*kustomization["resources"], *(patch["path"] for patch in kustomization.get("patches", []))}
        folders = {name for name in named if (root / name).is_dir()}
        assert {path.name for path in root.glob("*.yaml")} - {"kustomization.yaml"} == named - folders


@pytest.mark.parametrize("root", SERVERS, ids=lambda root: root.name)
def test_as_rendered_it_is_valid_and_asks_for_no_rights(root: Path) -> None:
    objects = rendered(root)
    check(objects)
    for name, pod in pods(objects).items():
        assert name in OURS
        assert pod["automountServiceAccountToken"] is False
        asks_for_no_rights(pod)


def test_what_the_overlays_change() -> None:
    base, *others = (pods(rendered(root))["touchstone"] for root in SERVERS)
    gpu, gvisor, tier_a = others
    assert [root.name for root in SERVERS] == ["base", "gpu", "gvisor", "tier-a"]
    assert base["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert gpu["containers"][0]["image"] == "touchstone:gpu"
    assert gpu["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "1"
    made = one(rendered(OVERLAYS["gvisor"]), "RuntimeClass")
    assert made["metadata"]["name"] == gvisor["runtimeClassName"] == "gvisor"
    assert tier_a["securityContext"]["seccompProfile"]["type"] == "Localhost"
    for other in others:
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
