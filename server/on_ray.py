"""The server as a Ray Serve application (extra `ray`, `docs/ray.md`): `serve run server.on_ray:app`.

Each replica is the whole server, but for its socket, which is Serve's proxy's: it loads the model, runs its own sandbox
or Ray's, and writes to the one log. Replicas come and go by the requests that are under way (Serve's own autoscaling).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator
from ray import serve
from starlette.types import ASGIApp

from server import logs
from server.config import ConfigError, load
from server.serving import Serving


class ServeArgs(BaseModel):
    """What `serve run` and a Serve config file say beside the configuration itself."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    config: Path | None = None
    """Configuration file; ./touchstone.toml if it is there."""
    replicas: int = Field(1, ge=1)
    """The fewest replicas."""
    max_replicas: int | None = Field(None, ge=1)
    """The most; None: as many as the fewest, and nothing is scaled."""
    ongoing: float = Field(16, gt=0)
    """Requests under way, a replica, that the autoscaling aims at."""
    max_ongoing: int = Field(1024, ge=1)
    """Requests that Serve gives a replica at once; more wait in Serve. The engine has a fair queue of its own."""
    cpus: float = Field(1, ge=0)
    """CPUs of a node that a replica takes."""
    gpus: float = Field(0, ge=0)

    @model_validator(mode="after")
    def _in_order(self) -> ServeArgs:
        if self.most < self.replicas:
            raise ValueError("max_replicas is less than replicas")
        return self

    @property
    def most(self) -> int:
        return self.replicas if self.max_replicas is None else self.max_replicas


def app(given: dict[str, Any]) -> serve.Application:
    """The application, of `ServeArgs` as words. Raises `ConfigError` and `ValueError`, naming the key."""
    args = ServeArgs.model_validate(given)
    config = load(args.config)
    if args.most > 1 and config.is_database_local:
        raise ConfigError(
            f"feedback.database_url: {args.most} replicas need one log, and a SQLite file is one process's; "
            "name a PostgreSQL database"
        )
    scaling: dict[str, Any] = {"num_replicas": args.replicas}
    if args.most > args.replicas:
        bounds = {"min_replicas": args.replicas, "max_replicas": args.most}
        scaling = {"autoscaling_config": {**bounds, "target_ongoing_requests": args.ongoing}}

    def build_asgi() -> ASGIApp:
        logs.configure(config.log.format, access=config.log.access)
        return Serving(config, load_first=True).app

    deployment = serve.deployment(
        serve.ingress(build_asgi)(),
        name="touchstone",
        max_ongoing_requests=args.max_ongoing,
        ray_actor_options={"num_cpus": args.cpus, "num_gpus": args.gpus},
        graceful_shutdown_timeout_s=config.server.drain_s + 10,
        **scaling,
    )
    return deployment.bind()
