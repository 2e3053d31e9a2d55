"""`GET` and `POST /admin/models`: see, load, switch and roll back what is served.

By keys of the scope `admin`; where no keys are in use, from this machine only.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Callable
from typing import Any

from starlette.types import Receive, Scope, Send

from engine import Challenger, EngineError, InvalidSetting, Model, ModelStore, Refusal
from server.asgi import headers_of, read_body, send_json
from server.errors import ApiError, NotFound
from server.keys.caller import caller_of
from server.service import Service
from server.switching import Switching
from server.wire.admin import AdminAction

_FORWARDED = ("x-forwarded-for", "forwarded", "x-real-ip")
_SHARES = {"shadow": 1.0, "canary": 0.1}


class AdminModels:
    """The models of the store, and what is done with them."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = headers_of(scope)
        if caller_of(scope).key is None:
            refuse_strangers(scope, headers)
        switching = self._service.switching
        if scope["method"] == "POST":
            self._service.lifecycle.check()
            if switching is None:
                raise ApiError(
                    409,
                    "the served model is fixed by engine.model or engine.type, so it cannot be changed here",
                    param="action",
                    code="model_fixed",
                )
            body = await read_body(receive, headers, self._service.config.server)
            await act(switching, AdminAction.model_validate_json(body))
        await send_json(send, 200, await self._page(switching))

    async def _page(self, switching: Switching | None) -> dict[str, Any]:
        service, roster = self._service, self._service.roster
        in_memory = [
            {"id": served.id, "model": served.info.model, "role": role, "requests": served.leases}
            for role, served in roster
        ]
        page: dict[str, Any] = {"object": "list", "data": [], "in_memory": in_memory}
        if switching is None:
            return page
        page |= await asyncio.to_thread(_store_page, switching.store)
        failure, verdict = switching.failure, service.contest.verdict if service.contest is not None else None
        page["state"] = switching.state
        page["not_served"] = failure and {
            "id": failure.id,
            "reason": failure.reason,
            "at": failure.at.isoformat(timespec="seconds"),
        }
        page["contest"] = verdict and {
            "decision": verdict.decision,
            "reason": verdict.reason,
            "pairs": verdict.pairs,
            "mean": verdict.mean,
            "e_better": verdict.e_better,
            "e_worse": verdict.e_worse,
        }
        return page


async def act(switching: Switching, asked: AdminAction) -> None:
    """Do it; returns when it is done. Raises `EngineError`s and `ApiError`s for what cannot be."""
    store, model_id = switching.store, asked.id or ""
    if switching.asleep and asked.action not in ("sleep", "wake"):
        raise ApiError(409, "the model sleeps: wake it first", param="action", code="asleep")
    match asked.action:
        case "sleep":
            try:
                await switching.sleep()
            except InvalidSetting as error:
                raise ApiError(409, str(error), param="action", code="cannot_sleep") from error
        case "wake":
            await switching.wake()
        case "load":
            await switching.prepare(model_id)
        case "unload":
            if not await switching.unload((await asyncio.to_thread(store.get, model_id)).id):
                raise NotFound(f"{model_id} was not loaded by an administrator", param="id", code="not_loaded")
        case "switch":
            await switching.switch(model_id, asked.expected)
        case "rollback":
            previous = await asyncio.to_thread(store.previous_champion)
            if previous is None:
                raise ApiError(409, "there is no champion before this one", param="action", code="no_previous")
            await switching.switch(previous, asked.expected)
        case "challenge":
            mode = asked.mode or "shadow"
            share = _SHARES[mode] if asked.share is None else asked.share
            await switching.challenge(model_id, asked.expected, mode=mode, share=share)
        case "withdraw":
            model = await asyncio.to_thread(store.get, model_id)
            if not await asyncio.to_thread(store.clear_challenger, model.id):
                raise NotFound(f"{model_id} is not the challenger", param="id", code="not_challenger")
            await switching.look()


def refuse_strangers(scope: Scope, headers: dict[str, str]) -> None:
    """Where no keys are in use: only this machine, no proxy (it speaks for anybody), no page in a browser.

    Raises 403. A browser sends `Origin` with every POST, also to an address that a stranger's page was made to name.
    """
    peer = scope["client"][0] if scope.get("client") else ""
    if not _is_loopback(peer) or any(name in headers for name in _FORWARDED):
        raise ApiError(403, "the models are administered from this machine only", code="not_local")
    if "origin" in headers:
        raise ApiError(403, "the models are not administered from a browser", code="not_local")


def _is_loopback(peer: str) -> bool:
    try:
        return ipaddress.ip_address(peer).is_loopback
    except ValueError:
        return False


def _store_page(store: ModelStore) -> dict[str, Any]:
    """What the store says; what of it cannot be read is left out, and `problem` says why of the first."""
    read: dict[str, Callable[[], Any]] = {
        "champion": store.champion_id,
        "previous": store.previous_champion,
        "challenger": lambda: _challenger(store.challenger()),
        "refused": lambda: [_refusal(refusal) for refusal in store.refused()],
        "data": lambda: [_entry(model) for model in store.list()],
    }
    found: dict[str, Any] = {}
    for name, ask in read.items():
        try:
            found[name] = ask()
        except EngineError as error:
            found.setdefault("problem", str(error))
    return found


def _challenger(challenger: Challenger | None) -> dict[str, Any] | None:
    if challenger is None:
        return None
    return {
        "id": challenger.id,
        "mode": challenger.mode,
        "share": challenger.share,
        "since": challenger.since.isoformat(),
        "champion": challenger.champion,
    }


def _refusal(refusal: Refusal) -> dict[str, Any]:
    return {"id": refusal.id, "round": refusal.round, "reason": refusal.reason, "at": refusal.refused_at.isoformat()}


def _entry(model: Model) -> dict[str, Any]:
    manifest = model.manifest
    return {
        "id": model.id,
        "object": "model",
        "family": manifest.family,
        "size": manifest.size,
        "round": manifest.round,
        "parent": manifest.parent,
        "source": manifest.source,
        "created": int(manifest.created_at.timestamp()),
        "conversions": list(manifest.conversions),
        "bundled": model.read_only,
    }
