"""The sandbox on a Ray cluster (extra `ray`, `docs/ray.md`). Nothing here imports Ray before it is used."""

from sandbox.on_ray.pool import RaySandbox
from sandbox.on_ray.workforce import Staff

__all__ = ["RaySandbox", "Staff"]
