"""The sandbox on a Ray cluster (extra `ray`, `docs/ray.md`). Nothing here imports Ray before it is used."""

from sandbox.on_ray.cluster import joined as ray_cluster
from sandbox.on_ray.pool import RaySandbox
from sandbox.on_ray.survey import Surveyed, survey
from sandbox.on_ray.workforce import Staff

__all__ = ["RaySandbox", "Staff", "Surveyed", "ray_cluster", "survey"]
