"""The manifests for KubeRay: the fields used, the pods by Kubernetes' schemas, and what must agree."""

import tomllib
from typing import Any

import pytest
import yaml

from server.config import SandboxConfig, ServerConfig
from tests.deploy.manifests import BASE, KUBERNETES, OVERLAYS, asks_for_no_rights, check, one, rendered

# ray.io/v1 as KubeRay 1.4 has it (ray-operator/apis/ray/v1: RayServiceSpec, RayClusterSpec and what they hold).
SERVICE = {"serveConfigV2", "rayClusterConfig", "excludeHeadPodFromServeSvc", "upgradeStrategy", "serveService"}
CLUSTER = {"rayVersion", "enableInTreeAutoscaling", "autoscalerOptions", "headGroupSpec", "workerGroupSpecs"}
AUTOSCALER = {"idleTimeoutSeconds", "upscalingMode", "resources", "image", "env", "securityContext"}
HEAD = {"rayStartParams", "template", "serviceType"}
GROUP = {"groupName", "replicas", "minReplicas", "maxReplicas", "numOfHosts", "rayStartParams", "template"}

OBJECTS = {name: folder for name, folder in OVERLAYS.items() if name.startswith("ray")}


def spec(name: str = "ray") -> dict[str, Any]:
    found: dict[str, Any] = one(rendered(OBJECTS[name]), "RayService")["spec"]
    return found


def groups(name: str = "ray") -> dict[str, dict[str, Any]]:
    cluster = spec(name)["rayClusterConfig"]
    return {"head": cluster["headGroupSpec"], **{each["groupName"]: each for each in cluster["workerGroupSpecs"]}}


def pod(group: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = group["template"]["spec"]
    return found


@pytest.mark.parametrize("name", OBJECTS)
def test_the_fields_are_of_the_operators_api(name: str) -> None:
    service = one(rendered(OBJECTS[name]), "RayService")
    assert service["apiVersion"] == "ray.io/v1"
    assert set(service["spec"]) <= SERVICE
    cluster = service["spec"]["rayClusterConfig"]
    assert set(cluster) <= CLUSTER
    assert set(cluster["autoscalerOptions"]) <= AUTOSCALER
    assert set(cluster["headGroupSpec"]) <= HEAD
    assert all(
        {"groupName", "minReplicas", "maxReplicas"} <= set(each) <= GROUP for each in cluster["workerGroupSpecs"]
    )
    for group in groups(name).values():
        assert all(isinstance(value, str) for value in group["rayStartParams"].values())


@pytest.mark.parametrize("name", OBJECTS)
def test_the_rest_is_valid_and_no_pod_asks_for_rights(name: str) -> None:
    check(rendered(OBJECTS[name]))
    for group, each in groups(name).items():
        template = {
            "apiVersion": "v1",
            "kind": "PodTemplate",
            "metadata": {"name": group},
            "template": each["template"],
        }
        check([template])
        asks_for_no_rights(pod(each))
        [container] = pod(each)["containers"]
        assert container["image"] == "touchstone:ray"
        assert pod(each).get("automountServiceAccountToken", True) is (group == "head")


def test_what_ray_does_itself_is_gone_and_the_rest_is_the_bases() -> None:
    base, ray = (
        {(each["kind"], each["metadata"]["name"]) for each in rendered(root)} for root in (BASE, OBJECTS["ray"])
    )
    gone = {"Deployment", "Service", "HorizontalPodAutoscaler", "PodDisruptionBudget"}
    assert {kind for kind, _ in base - ray} == gone
    assert {kind for kind, _ in ray - base} == {"RayService", "NetworkPolicy"}


def test_replicas_and_candidates_have_pods_of_their_own() -> None:
    serve = yaml.safe_load(spec()["serveConfigV2"])
    [application] = serve["applications"]
    [deployment] = application["deployments"]
    options = deployment["ray_actor_options"]
    servers, sandbox = groups()["servers"], groups()["sandbox"]
    [(resource, needed)] = options["resources"].items()
    assert options["num_cpus"] == 0
    # The form that Ray's autoscaler reads: JSON in quotes of its own, for a shell is in between.
    assert servers["rayStartParams"]["resources"] == f'"{{\\"{resource}\\": {needed}}}"'
    assert servers["rayStartParams"]["num-cpus"] == groups()["head"]["rayStartParams"]["num-cpus"] == "0"
    assert set(sandbox["rayStartParams"]) == {"num-cpus"}
    [container] = pod(sandbox)["containers"]
    assert not {"env", "envFrom"} & set(container)  # no password, and below no key and no model
    assert [volume["name"] for volume in pod(sandbox)["volumes"]] == ["tmp"]


def test_its_version_of_ray_is_the_images() -> None:
    lock = (KUBERNETES.parent / "image" / "ray.txt").read_text()
    assert f"\nray=={spec()['rayClusterConfig']['rayVersion']} " in lock


def test_the_numbers_agree() -> None:
    text = one(rendered(OBJECTS["ray"]), "ConfigMap")["data"]["touchstone.toml"]
    settings = tomllib.loads(text)
    server = ServerConfig(**settings["server"])
    lent = settings["sandbox"]
    assert lent.pop("ray") == "auto"  # the settings know it only where Ray is installed
    workers = SandboxConfig(**lent)
    [application] = yaml.safe_load(spec()["serveConfigV2"])["applications"]
    args = application["args"]
    servers, sandbox = groups()["servers"], groups()["sandbox"]
    assert (args["replicas"], args["max_replicas"]) == (servers["minReplicas"], servers["maxReplicas"])
    assert server.replicas == 2 * args["max_replicas"]
    cpus = int(sandbox["rayStartParams"]["num-cpus"])
    assert args["max_replicas"] * workers.ray_max_workers * (workers.slots or 1) <= sandbox["maxReplicas"] * cpus
    assert args["replicas"] * workers.ray_min_workers * (workers.slots or 1) <= sandbox["minReplicas"] * cpus
    [container] = pod(servers)["containers"]
    [mounted] = [mount for mount in container["volumeMounts"] if mount["name"] == "config"]
    assert args["config"] == mounted["mountPath"]
    assert pod(servers)["terminationGracePeriodSeconds"] >= server.drain_s + 10


def test_one_pod_is_asked_for_the_metrics_of_all() -> None:
    monitor = one(rendered(OBJECTS["ray"]), "PodMonitor")["spec"]
    head = groups()["head"]["template"]
    assert monitor["selector"]["matchLabels"] == head["metadata"]["labels"]
    [endpoint] = monitor["podMetricsEndpoints"]
    assert endpoint["port"] in {port["name"] for port in head["spec"]["containers"][0]["ports"]}


def test_the_policies_part_the_pods() -> None:
    policies = {
        each["metadata"]["name"]: each["spec"] for each in rendered(OBJECTS["ray"]) if each["kind"] == "NetworkPolicy"
    }
    labels = {name: group["template"]["metadata"]["labels"] for name, group in groups().items()}
    assert labels == {name: {"touchstone-ray": name} for name in ("head", "servers", "sandbox")}
    [reaching] = policies["touchstone-ray-database"]["podSelector"]["matchExpressions"]
    assert reaching == {"key": "touchstone-ray", "operator": "In", "values": ["head", "servers"]}
    assert policies["touchstone-ray-head"]["podSelector"] == {"matchLabels": {"touchstone-ray": "head"}}
    [anyone, *others] = policies["touchstone-ray"]["ingress"]
    assert anyone == {"from": [{"podSelector": policies["touchstone-ray"]["podSelector"]}]}
    assert all(rule["ports"] for rule in others)


def test_the_gvisor_variant_is_of_the_sandboxs_pods_alone() -> None:
    made = one(rendered(OBJECTS["ray-gvisor"]), "RuntimeClass")["metadata"]["name"]
    assert {name: pod(group).get("runtimeClassName") for name, group in groups("ray-gvisor").items()} == {
        "head": None,
        "servers": None,
        "sandbox": made,
    }
