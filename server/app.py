"""The ASGI app: routes around a service. Takes built objects; there are no globals and importing has no effects.

FastAPI holds the routes and the OpenAPI page; `Gateway` stands in the place of its middleware stack. The routes read
their bodies themselves (see `server/openapi.py`), so nothing is validated twice.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any

from fastapi import FastAPI
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp

from engine import touchstone_version
from server.gateway import Gateway
from server.idempotency import Idempotent
from server.openapi import document
from server.routes.admin import AdminModels
from server.routes.candidates import Candidates
from server.routes.dev_data import DevData
from server.routes.feedback import Feedback
from server.routes.fim import Infill, Props, fim
from server.routes.generation import chat, completions
from server.routes.health import Health, MetricsPage, Ready, Version
from server.routes.models import Models
from server.routes.requests import Cancel, Record
from server.routes.suites import Suites
from server.routes.tabby import TabbyEvents, TabbyHealth
from server.routes.tokens import Detokenize, Tokenize
from server.service import Parts, Service

Lifespan = Callable[[Any], AbstractAsyncContextManager[None]]


def create_app(parts: Parts) -> ASGIApp:
    """The app over parts that are ready. Whoever built them closes them."""
    return app_of(Service(parts.config, parts))


def app_of(service: Service, lifespan: Lifespan | None = None) -> ASGIApp:
    """The app over a service whose parts may still be loading."""
    once = partial(
        Idempotent, lifecycle=service.lifecycle, config=service.config.server, shared=lambda: service.shared_answers
    )
    routes: list[BaseRoute] = [
        Route("/v1/completions", once(completions(service)), methods=["POST"]),
        Route("/v1/chat/completions", once(chat(service)), methods=["POST"]),
        Route("/v1/fim/completions", once(fim(service)), methods=["POST"]),
        Route("/infill", once(Infill(service)), methods=["POST"]),
        Route("/props", Props(service), methods=["GET"]),
        Route("/tokenize", Tokenize(service), methods=["POST"]),
        Route("/detokenize", Detokenize(service), methods=["POST"]),
        Route("/v1/rerank/candidates", once(Candidates(service)), methods=["POST"]),
        Route("/v1/feedback", Feedback(service), methods=["POST"]),
        Route("/v1/events", TabbyEvents(service), methods=["POST"]),
        Route("/v1/dev-data", DevData(service), methods=["POST"]),
        Route("/v1/health", TabbyHealth(service), methods=["GET"]),
        Route("/v1/requests/{id}/cancel", Cancel(service), methods=["POST"]),
        Route("/v1/rerank/{id}", Record(service), methods=["GET"]),
        Route("/v1/suites", Suites(service), methods=["GET", "POST"]),
        Route("/v1/suites/{id}", Suites(service), methods=["GET"]),
        Route("/v1/models", Models(service), methods=["GET"]),
        Route("/v1/models/{id:path}", Models(service), methods=["GET"]),
        Route("/admin/models", AdminModels(service), methods=["GET", "POST"]),
        Route("/health", Health(service), methods=["GET"]),
        Route("/ready", Ready(service), methods=["GET"]),
        Route("/metrics", MetricsPage(service), methods=["GET"]),
        Route("/version", Version(service), methods=["GET"]),
    ]
    api = FastAPI(
        version=touchstone_version(), lifespan=lifespan, redirect_slashes=False, docs_url=None, redoc_url=None
    )
    api.openapi = lambda: document(api.version)  # type: ignore[method-assign]
    api.router.routes.extend(routes)
    fixed = {path: route for route in api.routes if "{" not in (path := getattr(route, "path", "{"))}
    return Gateway(service, api.router, fixed)
