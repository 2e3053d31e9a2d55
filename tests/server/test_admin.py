"""`/admin/models`: who may, what each action does, what is refused and how."""

from pathlib import Path
from typing import Any

import httpx
import pytest

from engine import ScriptedEngine
from server.app import app_of

from .conftest import Setup
from .fleet import add_round, closed, fleet, id_of, name_of, until


def error_of(reply: httpx.Response) -> tuple[int, str, str | None]:
    error = reply.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return reply.status_code, error["code"], error["param"]


async def test_the_page_says_what_there_is(tmp_path: Path) -> None:
    async with fleet(tmp_path, rounds=3) as served:
        served.store.refuse(id_of(2), round=2, reason="worse")
        page = (await served.client.get("/admin/models")).json()
        assert [model["id"] for model in page["data"]] == [id_of(0), id_of(1), id_of(2)]
        assert (page["champion"], page["previous"], page["challenger"]) == (id_of(0), None, None)
        assert page["in_memory"] == [{"id": id_of(0), "model": name_of(0), "role": "champion", "requests": 0}]
        assert (page["state"], page["not_served"], page["contest"]) == ("idle", None, None)
        assert page["refused"][0]["reason"] == "worse"
        (served.store.root / id_of(1) / "manifest.json").write_text("{")
        page = (await served.client.get("/admin/models")).json()
        assert "manifest.json" in page["problem"]
        assert page["champion"] == id_of(0)
        (served.store.root / "champion.json").write_text("{")
        page = (await served.client.get("/admin/models")).json()
        assert "champion.json" in page["problem"]
        assert page["refused"]


async def test_switch_and_roll_back(tmp_path: Path) -> None:
    async with fleet(tmp_path) as served:
        assert error_of(await served.admin(action="rollback")) == (409, "no_previous", "action")
        page = (await served.admin(action="switch", id=name_of(1), expected=id_of(0))).json()
        assert (page["champion"], page["previous"]) == (id_of(1), id_of(0))
        assert await served.who() == "r1"
        assert (await served.admin(action="rollback")).json()["champion"] == id_of(0)
        assert await served.who() == "r0"
        assert (await served.admin(action="rollback", expected=id_of(0))).json()["champion"] == id_of(1)
        assert served.store.champion_id() == id_of(1)


async def test_who_was_too_late_moves_nothing(tmp_path: Path) -> None:
    async with fleet(tmp_path, rounds=3) as served:
        served.store.set_champion(id_of(0), id_of(1))
        late = await served.admin(action="switch", id=id_of(2), expected=id_of(0))
        assert error_of(late) == (409, "champion_moved", "expected")
        assert served.store.champion_id() == id_of(1)
        assert not served.service.roster.loaded  # what was loaded for it is let go
        await until(lambda: closed(served.engines[id_of(2)]))


async def test_a_model_that_cannot_be_served_leaves_the_pointer_where_it_was(tmp_path: Path) -> None:
    async with fleet(tmp_path) as served:
        (served.store.root / id_of(1) / "ct2-int8" / "model.bin").write_bytes(b"short")
        assert error_of(await served.admin(action="switch", id=id_of(1))) == (422, "model_unusable", "id")
        assert error_of(await served.admin(action="switch", id="nobody")) == (404, "model_not_found", "id")
        served.store.refuse(add_round(served.store, 2), round=2, reason="worse")
        assert error_of(await served.admin(action="switch", id=id_of(2))) == (422, "model_unusable", "id")
        assert served.store.champion_id() == id_of(0)
        assert await served.who() == "r0"


async def test_a_loaded_model_answers_to_its_name_alone(tmp_path: Path) -> None:
    async with fleet(tmp_path, rounds=3) as served:
        page = (await served.admin(action="load", id=id_of(1))).json()
        assert [one["role"] for one in page["in_memory"]] == ["champion", "loaded"]
        assert await served.who(model=name_of(1)) == "r1"
        assert await served.who(model="tiny:1m-int8") == "r0"
        listed = (await served.client.get("/v1/models")).json()["data"]
        assert {entry["id"]: entry["role"] for entry in listed}[f"{name_of(1)}+auto"] == "loaded"
        assert listed[0]["id"] == name_of(0)
        assert (await served.admin(action="switch", id=id_of(1))).status_code == 200
        assert served.loads == {id_of(1): 1}
        await served.admin(action="load", id=id_of(2))
        assert (await served.admin(action="unload", id=id_of(2))).status_code == 200
        await until(lambda: closed(served.engines[id_of(2)]))
        assert error_of(await served.admin(action="unload", id=id_of(2))) == (404, "not_loaded", "id")
        assert (await served.complete(model=name_of(2))).status_code == 404


class Sleeper(ScriptedEngine):
    """Notes when it sleeps."""

    def __init__(self, number: int) -> None:
        super().__init__({}, otherwise=(f"round {number}",), model_name=name_of(number))
        self.sleeps = False

    async def sleep(self) -> None:
        await self._turns.pause()
        self.sleeps = True

    async def wake(self) -> None:
        self._turns.resume()
        self.sleeps = False


async def test_a_model_sleeps_while_something_else_has_the_gpu(tmp_path: Path) -> None:
    async with fleet(tmp_path) as served:
        assert error_of(await served.admin(action="sleep")) == (409, "cannot_sleep", "action")
        assert await served.who() == "r0", "it answers on"
        engine = Sleeper(1)
        served.make[id_of(1)] = lambda: engine
        await served.admin(action="switch", id=id_of(1))
        assert (await served.admin(action="sleep")).status_code == 200
        assert engine.sleeps
        reply = await served.complete()
        assert (reply.status_code, reply.json()["error"]["code"]) == (503, "asleep")
        assert reply.headers["retry-after"]
        ready = await served.client.get("/ready")
        assert (ready.status_code, ready.json()["status"]) == (503, "asleep")
        assert error_of(await served.admin(action="rollback")) == (409, "asleep", "action")
        served.store.set_champion(id_of(1), id_of(0))  # by whoever trained meanwhile
        await served.switching.look()
        assert (await served.client.get("/ready")).json()["model"] == name_of(1)
        assert (await served.admin(action="wake")).json()["champion"] == id_of(0)
        assert not engine.sleeps
        assert await served.who() == "r0"


async def test_a_challenge_and_its_withdrawal(tmp_path: Path) -> None:
    async with fleet(tmp_path) as served:
        page = (await served.admin(action="challenge", id=id_of(1), mode="canary")).json()
        assert (page["challenger"]["id"], page["challenger"]["share"]) == (id_of(1), 0.1)
        assert {one["role"] for one in page["in_memory"]} == {"champion", "challenger"}
        assert await served.who(model=name_of(1)) == "r1"
        twice = await served.admin(action="challenge", id=id_of(0), mode="shadow")
        assert error_of(twice) == (422, "model_unusable", "id")
        page = (await served.admin(action="withdraw", id=id_of(1))).json()
        assert page["challenger"] is None
        await until(lambda: closed(served.engines[id_of(1)]))
        assert error_of(await served.admin(action="withdraw", id=id_of(1))) == (404, "not_challenger", "id")


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"action": "explode"}, "action"),
        ({}, "action"),
        ({"action": "switch", "id": "x", "force": True}, "force"),
        ({"action": "switch"}, None),
        ({"action": "rollback", "id": "x"}, None),
        ({"action": "load", "id": "x", "expected": "y"}, None),
        ({"action": "switch", "id": "x", "share": 0.5}, None),
        ({"action": "challenge", "id": "x"}, None),
        ({"action": "challenge", "id": "x", "mode": "loud"}, "mode"),
        ({"action": "challenge", "id": "x", "mode": "canary", "share": 0.0}, "share"),
        ({"action": "switch", "id": 7}, "id"),
    ],
)
async def test_what_makes_no_sense_is_refused_by_name(tmp_path: Path, body: dict[str, Any], param: str | None) -> None:
    async with fleet(tmp_path) as served:
        reply = await served.admin(**body)
        assert reply.status_code == 400
        assert error_of(reply)[2] == param


async def test_strangers_proxies_and_browsers_are_refused(tmp_path: Path) -> None:
    async with fleet(tmp_path) as served:
        body = {"action": "switch", "id": id_of(1)}
        for headers in ({"Origin": "http://127.0.0.1"}, {"X-Forwarded-For": "127.0.0.1"}, {"Forwarded": "for=::1"}):
            reply = await served.client.post("/admin/models", json=body, headers=headers)
            assert error_of(reply) == (403, "foreign_origin" if "Origin" in headers else "not_local", None)
        for peer in ("192.0.2.7", "2001:db8::1", ""):
            transport = httpx.ASGITransport(app_of(served.service), client=(peer, 1))
            async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as stranger:
                assert (await stranger.post("/admin/models", json=body)).status_code == 403
                assert (await stranger.get("/admin/models")).status_code == 403
        transport = httpx.ASGITransport(app_of(served.service), client=("::1", 1))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as local:
            assert (await local.get("/admin/models")).status_code == 200
        assert await served.who() == "r0"


async def test_a_served_model_that_was_named_is_fixed(server: Setup) -> None:
    page = (await server.client.get("/admin/models")).json()
    assert page["in_memory"][0]["role"] == "champion"
    refused = await server.post("/admin/models", action="rollback")
    assert error_of(refused) == (409, "model_fixed", "action")


async def test_the_openapi_page_has_the_action(server: Setup) -> None:
    page = (await server.client.get("/openapi.json")).json()
    assert set(page["paths"]["/admin/models"]) == {"get", "post"}
    assert {"action", "id", "expected", "mode", "share"} == set(
        page["components"]["schemas"]["AdminAction"]["properties"]
    )
