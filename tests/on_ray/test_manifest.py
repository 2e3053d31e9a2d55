"""The Serve config that stands in the manifest for KubeRay, by Ray's own schema and the application's."""

import pytest
import yaml

from tests.deploy.manifests import OVERLAYS, one, rendered

pytestmark = [pytest.mark.ray, pytest.mark.filterwarnings("ignore")]


def test_it_is_what_serve_and_the_application_take() -> None:
    pytest.importorskip("ray", reason="Ray is not installed: make test-ray")
    from ray.serve.schema import ServeDeploySchema

    from server.on_ray import ServeArgs

    spec = one(rendered(OVERLAYS["ray"]), "RayService")["spec"]
    given = yaml.safe_load(spec["serveConfigV2"])
    [application] = ServeDeploySchema.model_validate(given).applications
    assert application.import_path == "server.on_ray:app"
    ServeArgs.model_validate(application.args)
