"""Keys: made, kept, looked up; what each of them may do, and what is kept of its requests."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from server.app import app_of
from server.config import Config, ConfigError, load
from server.keys.caller import ANY, scope_of
from server.keys.cli import app
from server.keys.file import KeysUnreadable, UnknownKey, add_key, read_keys, revoke_key
from server.keys.types import new_key
from server.service import Service
from trainer.groups.draft import why_not
from trainer.groups.settings import Settings

from .conftest import Serve, Setup

TESTS = {"tests": {"code": "assert one() == 1"}}


def added(folder: Path, **what: Any) -> tuple[str, dict[str, str]]:
    """A new key's id and the header that carries it."""
    key, secret = new_key("somebody", **what)
    add_key(folder / "keys.json", key)
    return key.id, {"Authorization": f"Bearer {secret}"}


def refusal(reply: httpx.Response) -> tuple[int, str]:
    error = reply.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return reply.status_code, error["code"]


async def test_without_keys_everybody_may_ask_and_with_the_first_nobody_else(server: Setup, tmp_path: Path) -> None:
    assert (await server.complete()).status_code == 200
    key_id, header = added(tmp_path)
    assert refusal(reply := await server.complete()) == (401, "missing_api_key")
    assert reply.headers["www-authenticate"] == "Bearer"
    assert "x-request-id" in reply.headers
    assert (await server.complete(headers=header)).status_code == 200
    secret = header["Authorization"].removeprefix("Bearer ")
    assert (await server.complete(headers={"x-api-key": secret})).status_code == 200
    for wrong in ({"Authorization": "Bearer no"}, {"Authorization": f"Basic {secret}"}, {"x-api-key": "é"}):
        assert (await server.complete(headers={k: v.encode() for k, v in wrong.items()})).status_code == 401  # type: ignore[misc]
    revoke_key(tmp_path / "keys.json", key_id)
    reply = await server.complete(headers=header)
    assert refusal(reply) == (401, "invalid_api_key")
    assert secret not in reply.text
    (tmp_path / "keys.json").unlink()
    assert refusal(await server.complete()) == (401, "missing_api_key")


async def test_a_damaged_file_leaves_the_keys_of_before_in_force(server: Setup, tmp_path: Path) -> None:
    _, header = added(tmp_path)
    assert (await server.complete(headers=header)).status_code == 200
    (tmp_path / "keys.json").write_text("{")
    assert (await server.complete(headers=header)).status_code == 200
    assert (await server.complete()).status_code == 401


async def test_an_expired_key_is_refused(server: Setup, tmp_path: Path) -> None:
    _, header = added(tmp_path, expires_at="2020-01-01T00:00:00Z")
    assert refusal(await server.complete(headers=header)) == (401, "invalid_api_key")


async def test_each_scope_opens_its_routes_alone(server: Setup, tmp_path: Path) -> None:
    _, asks = added(tmp_path, scopes=("completions",))
    _, looks = added(tmp_path, scopes=("metrics",))
    _, rules = added(tmp_path, scopes=("admin",))
    assert refusal(await server.complete(headers=looks)) == (403, "insufficient_permissions")
    tested = await server.complete("def one():\n", asks, rerank=TESTS)
    assert refusal(tested) == (403, "insufficient_permissions")
    assert tested.json()["error"]["param"] == "rerank.tests"
    assert refusal(await server.post("/v1/feedback", asks, id="x", type="accept")) == (403, "insufficient_permissions")
    assert (await server.client.get("/metrics", headers=looks)).status_code == 200
    assert refusal(await server.client.get("/metrics", headers=asks)) == (403, "insufficient_permissions")
    assert (await server.client.get("/admin/models", headers=rules)).status_code == 200
    # A key speaks for itself: from behind a proxy too.
    assert (
        await server.client.get("/admin/models", headers={**rules, "x-forwarded-for": "1.2.3.4"})
    ).status_code == 200
    assert refusal(await server.client.get("/admin/models", headers=asks)) == (403, "insufficient_permissions")
    assert (await server.client.get("/v1/models", headers=looks)).status_code == 200
    assert (await server.client.get("/v1/models")).status_code == 401
    assert (await server.client.get("/nowhere")).status_code == 401
    for path in ("/health", "/ready", "/version"):
        assert (await server.client.get(path)).status_code == 200


async def test_the_log_names_the_key_and_feedback_is_its_owners(server: Setup, tmp_path: Path) -> None:
    key_id, mine = added(tmp_path)
    _, theirs = added(tmp_path)
    answered = (await server.complete(headers=mine, user="me")).json()
    exchange, _ = await server.parts.store.get(answered["id"])
    assert exchange.key_id == key_id
    assert exchange.options["fairness_key"] == key_id
    event = {"id": answered["id"], "type": "accept"}
    assert refusal(await server.post("/v1/feedback", theirs, **event)) == (409, "foreign_id")
    assert (await server.post("/v1/feedback", mine, **event)).status_code == 202
    _, (signal,) = await server.parts.store.get(answered["id"])
    assert signal.source == key_id


async def test_one_keys_idempotency_is_not_anothers(server: Setup, tmp_path: Path) -> None:
    for _ in range(2):
        _, header = added(tmp_path)
        answered = (await server.complete(headers=header)).json()
        told = await server.post(
            "/v1/feedback", {**header, "Idempotency-Key": "same"}, id=answered["id"], type="accept"
        )
        assert told.status_code == 202


async def test_privacy_no_text_keeps_no_text(server: Setup, tmp_path: Path) -> None:
    _, header = added(tmp_path, privacy="no_text")
    answered = (await server.complete("def one():\n", header, rerank=TESTS)).json()
    exchange, _ = await server.parts.store.get(answered["id"])
    assert exchange.prompt == {"kind": "text", "no_text": True}
    assert "return" not in json.dumps([candidate.text + candidate.raw_text for candidate in exchange.candidates])
    assert exchange.candidates[0].tests is not None
    event = {"id": answered["id"], "type": "edit", "value": "secret"}
    assert refusal(await server.post("/v1/feedback", header, **event)) == (400, "no_text")
    told = await server.post("/v1/feedback", header, id=answered["id"], type="reject")
    assert told.status_code == 202


async def test_privacy_off_logs_nothing(server: Setup, tmp_path: Path) -> None:
    _, header = added(tmp_path, privacy="off")
    answered = (await server.complete(headers=header, rerank={"method": "likelihood"})).json()
    assert answered["rerank"]["feedback_id"] is None
    told = await server.post("/v1/feedback", header, id=answered["id"], type="accept")
    assert refusal(told) == (404, "unknown_id")


async def test_what_may_not_be_trained_on_says_so(server: Setup, tmp_path: Path) -> None:
    reasons = []
    for train in (True, False):
        _, header = added(tmp_path, train=train)
        answered = (await server.complete(headers=header)).json()
        exchange, _ = await server.parts.store.get(answered["id"])
        reasons.append(why_not(exchange, Settings()))
    assert reasons == [None, "its key may not train"]


async def test_a_keys_default_stands_between_the_name_and_the_servers(server: Setup, tmp_path: Path) -> None:
    _, header = added(tmp_path, rerank="likelihood3")
    block = (await server.complete(headers=header)).json()["rerank"]
    assert (block["method"], block["num_candidates"]) == ("likelihood", 3)
    block = (await server.complete(headers={**header, "X-Rerank": "majority", "X-Rerank-N": "2"})).json()["rerank"]
    assert (block["method"], block["num_candidates"]) == ("majority", 2)


def test_every_route_says_what_it_needs(tmp_path: Path) -> None:
    gateway: Any = app_of(Service(Config(state_dir=tmp_path)))
    for path in gateway._paths:
        assert scope_of(path) != ANY or path == "/v1/models", f"{path} has no scope in server/keys/caller.py"


def test_a_server_beyond_loopback_needs_a_key_and_a_readable_file(tmp_path: Path) -> None:
    flags = {"server": {"host": "0.0.0.0"}, "state_dir": tmp_path}
    with pytest.raises(ConfigError, match="touchstone keys create"):
        load(None, flags)
    added(tmp_path)
    assert load(None, flags).server.host == "0.0.0.0"
    (tmp_path / "keys.json").write_text('{"version": 1, "keys": [{"id": 1}]}')
    with pytest.raises(ConfigError, match=r"keys\.json: keys\.0"):
        load(None, flags)


def test_the_file_holds_no_secret_and_is_its_owners(tmp_path: Path) -> None:
    _, header = added(tmp_path)
    path = tmp_path / "keys.json"
    assert header["Authorization"].removeprefix("Bearer ") not in path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(UnknownKey):
        revoke_key(path, "key-0")
    with pytest.raises(KeysUnreadable):
        read_keys(tmp_path)


def test_the_command_makes_lists_and_revokes(tmp_path: Path) -> None:
    def keys(*arguments: str) -> tuple[int, str]:
        done = CliRunner().invoke(app, [*arguments, "--state-dir", str(tmp_path)])
        return done.exit_code, done.stdout

    code, secret = keys("create", "ada", "--scope", "completions", "--expires", "90d", "--privacy", "no_text")
    assert code == 0
    [key] = read_keys(tmp_path / "keys.json")
    assert (key.name, key.scopes, key.privacy) == ("ada", ("completions",), "no_text")
    assert key.expires_at is not None
    assert (key.expires_at - key.created_at).days in (89, 90)
    code, listed = keys("list")
    assert f"{key.id}  ada: is good" in listed
    assert secret.strip() not in listed + keys("list", "--json")[1]
    assert json.loads(keys("list", "--json")[1])[0]["problem"] is None
    assert keys("revoke", key.id)[0] == 0
    assert "was revoked" in keys("list")[1]
    assert keys("revoke", "key-0")[0] == 2
    wrongs = [("--scope", "everything"), ("--rerank", "luck8"), ("--rerank", "tests8"), ("--expires", "soon")]
    for wrong in (*wrongs, ("--limit", "speed=1")):
        assert keys("create", "bob", *wrong)[0] == 2
    assert len(read_keys(tmp_path / "keys.json")) == 1


async def test_a_key_asks_the_same_of_a_stream(serve: Serve, tmp_path: Path) -> None:
    async with serve() as setup:
        key_id, header = added(tmp_path)
        reply = await setup.complete(headers=header, stream=True)
        first = json.loads(next(line for line in reply.text.splitlines() if line.startswith("data: "))[6:])
        exchange, _ = await setup.parts.store.get(first["id"])
        assert exchange.key_id == key_id
        assert (await setup.complete(stream=True)).status_code == 401


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/completions", {"prompt": "x"}),
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": "x"}]}),
        ("/v1/fim/completions", {"prompt": "x", "suffix": "y"}),
        ("/infill", {"input_prefix": "x"}),
        ("/v1/rerank/candidates", {"prompt": "x", "candidates": ["y"]}),
    ],
)
async def test_every_route_that_ranks_asks_for_the_scope_of_tests(
    server: Setup, tmp_path: Path, path: str, body: dict[str, Any]
) -> None:
    key_id, header = added(tmp_path, scopes=("completions",))
    reply = await server.client.post(path, json={**body, "rerank": TESTS}, headers=header)
    assert refusal(reply) == (403, "insufficient_permissions")
    assert reply.json()["error"]["param"] == "rerank.tests"
    reply = await server.client.post(path, json=body, headers=header)
    assert reply.status_code == 200
    log = server.parts.store
    assert [each.key_id async for each, _ in log.exchanges()] == [key_id]  # type: ignore[attr-defined]


async def test_tabbys_events_and_kept_answers_are_a_keys_own(server: Setup, tmp_path: Path) -> None:
    (key_id, mine), (_, theirs) = added(tmp_path), added(tmp_path)
    again = {"Idempotency-Key": "one"}
    answer = await server.complete(headers={**mine, **again})
    other = await server.complete(headers={**theirs, **again})
    assert "idempotent-replayed" not in other.headers
    assert (await server.complete(headers={**mine, **again})).json() == answer.json()
    event = {
        "type": "select",
        "completion_id": answer.json()["id"],
        "choice_index": 0,
        "view_id": "v",
        "select_kind": "line",
    }
    foreign = await server.client.post("/v1/events", json=event, headers=theirs)
    assert refusal(foreign) == (409, "foreign_id")
    assert (await server.client.post("/v1/events", json=event, headers=mine)).status_code == 200
    _, [signal] = await server.parts.store.get(answer.json()["id"])
    assert (signal.source, signal.type, signal.partial) == (key_id, "accept", "line")
