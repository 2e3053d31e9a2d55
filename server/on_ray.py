"""The server as a Ray Serve application (extra `ray`, `docs/ray.md`): `serve run server.on_ray:app`.

Each replica is the whole server, but for its socket, which is Serve's proxy's: it loads the model, runs its own sandbox
or Ray's, and writes to the one log. Replicas come and go by the requests that are under way (Serve's own autoscaling).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator
from ray import serve
from ray.exceptions import RayError
from ray.serve.exceptions import RayServeException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server import logs
from server.config import Config, load
from server.errors import Unavailable
from server.routes.health import page_of
from server.serving import Serving

_NAME = "touchstone"
_PAGES_S = 5.0
"""For which every replica's metrics are waited for."""


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


class Replica:
    """What Serve makes a replica of, before it is wrapped."""

    def __init__(self, config: Config) -> None:
        self._serving = Serving(config, load_first=True)
        self._serving.service.pages = self._pages
        logs.configure(config.log.format, access=config.log.access)

    def __serve_build_asgi_app__(self) -> ASGIApp:
        return _Leaving(self._serving.app)

    async def page(self, names: Sequence[str]) -> tuple[str, bytes]:
        """Its name, and its own metrics by these names."""
        return serve.get_replica_context().replica_tag, page_of(self._serving.service, names)

    async def _pages(self, names: Sequence[str]) -> Mapping[str, bytes]:
        """Those of all replicas. Raises `Unavailable` where one does not answer: a sum without it would be wrong."""
        handle = serve.get_deployment_handle(_NAME, serve.get_replica_context().app_name)
        try:
            found = await handle.broadcast("page", list(names)).results_async(timeout_s=_PAGES_S)
        except (TimeoutError, RayError, RayServeException) as error:
            raise Unavailable(f"a replica did not tell its metrics: {error}", "replica_silent", _PAGES_S) from error
        return dict(found)


class _Leaving:
    """An ASGI app whose requests hear by `receive` that their client went away, as behind any HTTP server.

    Serve cancels the call as well, and mostly before it says so: then a request would end without being counted or
    logged. So the call waits until the app has ended by itself.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        left: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        async def hear() -> Message:
            hearing = asyncio.ensure_future(receive())
            try:
                await asyncio.wait((hearing, left), return_when=asyncio.FIRST_COMPLETED)
                return hearing.result() if hearing.done() else {"type": "http.disconnect"}
            finally:
                hearing.cancel()

        work = asyncio.ensure_future(self._app(scope, hear, send))
        try:
            await asyncio.shield(work)
        except asyncio.CancelledError:
            left.set_result(None)
            try:
                await asyncio.wait((work,))
            finally:
                work.cancel()  # where it was told twice; what has ended does not mind
            raise


def app(given: dict[str, Any]) -> serve.Application:
    """The application, of `ServeArgs` as words. Raises `ConfigError` and `ValueError`, naming the key."""
    args = ServeArgs.model_validate(given)
    config = load(args.config, {"server": {"replicas": args.most}} if args.most > 1 else None)
    scaling: dict[str, Any] = {"num_replicas": args.replicas}
    if args.most > args.replicas:
        bounds = {"min_replicas": args.replicas, "max_replicas": args.most}
        scaling = {"autoscaling_config": {**bounds, "target_ongoing_requests": args.ongoing}}
    deployment = serve.deployment(
        serve.ingress()(Replica),
        name=_NAME,
        max_ongoing_requests=args.max_ongoing,
        ray_actor_options={"num_cpus": args.cpus, "num_gpus": args.gpus},
        graceful_shutdown_timeout_s=config.server.drain_s + 10,
        **scaling,
    )
    return deployment.bind(config)
