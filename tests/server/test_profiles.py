"""Profiles: named sets of settings, chosen by body > header > model name > key, under what is said by itself."""

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from engine import ScriptedEngine
from server.config import ConfigError, load
from server.keys.cli import app
from server.keys.file import read_keys
from server.translate.defaults import Defaults
from server.translate.names import resolve
from server.translate.rerank import Wanted, resolve_rerank
from server.wire.base import RerankFields

from .conftest import Serve
from .test_keys import added, refusal

PROFILES: dict[str, Any] = {
    "body": {"method": "majority", "num_candidates": 2},
    "head": {"method": "likelihood", "num_candidates": 3},
    "name4": {"method": "static", "num_candidates": 4},
    "key": {"method": "likelihood_sum", "num_candidates": 5, "temperature": 0.3},
    "cold": {"temperature": 0.1, "deadline_ms": 500},
    "none": {"method": "off"},
    "grow": {"num_candidates": "auto", "max_candidates": 32},
}
INFO = ScriptedEngine({}).info


def wanted(
    rerank: dict[str, Any] | None = None,
    headers: dict[str, str] | None = None,
    suffix: str = "",
    key: str | None = None,
    **more: Any,
) -> Wanted:
    profiles = {name: RerankFields.model_validate(fields) for name, fields in PROFILES.items()}
    methods = ("likelihood", "likelihood_sum", "majority", "static")
    defaults = Defaults(info=INFO, methods=methods, can_run=True, profiles=profiles, profile=key, method="auto")
    named = resolve(f"scripted+{suffix}" if suffix else None, "scripted", methods, (), profiles)
    fields = None if rerank is None else RerankFields.model_validate(rerank)
    return resolve_rerank(fields, headers or {}, named, defaults, n=1, **more)


BODY, HEAD, NAME, KEY = {"profile": "body"}, {"x-rerank-profile": "head"}, "name4", "key"


@pytest.mark.parametrize(
    ("asked", "method", "number", "profile"),
    [
        ((BODY, HEAD, NAME, KEY), "majority", 2, "body"),
        ((None, HEAD, NAME, KEY), "likelihood", 3, "head"),
        ((None, None, NAME, KEY), "static", 4, "name4"),
        ((None, None, "", KEY), "likelihood_sum", 5, "key"),
        ((None, None, "", None), "auto", 8, ""),
        # What a source says by itself goes before its own profile and weaker ones', and not before a stronger's.
        (({**BODY, "num_candidates": 7}, HEAD, NAME, KEY), "majority", 7, "body"),
        (({"num_candidates": 7}, HEAD, NAME, KEY), "likelihood", 7, "head"),
        ((None, {**HEAD, "x-rerank-n": "6"}, NAME, KEY), "likelihood", 6, "head"),
        ((None, {"x-rerank": "majority"}, NAME, KEY), "majority", 4, "name4"),
        ((BODY, {"x-rerank": "static", "x-rerank-n": "6"}, "", None), "majority", 2, "body"),
        ((None, HEAD, "static6", None), "likelihood", 3, "head"),
        ((None, None, "static6", KEY), "static", 6, "key"),
        ((None, None, "static", KEY), "static", 5, "key"),
        # `off` wants nothing of a weaker source's.
        (({"method": "off"}, HEAD, NAME, KEY), "off", 1, ""),
        ((None, {"x-rerank": "off"}, NAME, KEY), "off", 1, ""),
        ((None, None, "off", KEY), "off", 1, ""),
        ((None, None, "none", KEY), "off", 1, "none"),
        ((None, None, "cold", None), "auto", 8, "cold"),
    ],
)
def test_the_whole_order(asked: tuple[Any, Any, str, str | None], method: str, number: int, profile: str) -> None:
    found = wanted(*asked)
    assert (found.method, found.num_candidates, found.profile) == (method, number, profile)


def test_each_setting_has_its_own_source() -> None:
    found = wanted({"temperature": 0.9}, {"x-rerank-deadline-ms": "100"}, "cold", "key")
    assert (found.fields.temperature, found.deadline_s) == (0.9, 0.1)
    assert wanted(suffix="cold").deadline_s == 0.5
    assert wanted({"method": "static"}, key="key").fields.temperature == 0.3
    assert wanted(suffix="grow").adaptive
    assert wanted(suffix="grow").num_candidates == 32
    assert not wanted({"num_candidates": 2}, suffix="grow").adaptive
    assert wanted(suffix="grow", best_of=4).num_candidates == 4


def test_a_keys_default_leaves_gaps_streams_and_a_bare_best_of_alone() -> None:
    assert wanted(key="key", fim=True).method == "off"
    assert wanted(key="key", stream=True).profile == ""
    bare = wanted(key="key", best_of=4)
    assert (bare.method, bare.as_openai) == ("likelihood", True)
    assert wanted(headers=HEAD, stream=True).method == "likelihood"


async def test_a_profile_from_configuration_to_reply(serve: Serve, tmp_path: Path) -> None:
    async with serve(profiles=PROFILES) as setup:
        _, header = added(tmp_path, profile="key")
        reply = (await setup.complete(headers=header)).json()
        assert (reply["rerank"]["method"], reply["rerank"]["num_candidates"]) == ("likelihood_sum", 5)
        assert reply["system_fingerprint"] == "scripted-none-r2+key"
        listed = (await setup.client.get("/v1/models", headers=header)).json()["data"]
        assert listed[0]["profiles"] == list(PROFILES)
        assert f"{listed[0]['id']}+name4" in [entry["id"] for entry in listed]
        named = (await setup.complete(headers=header, model=f"{listed[0]['id']}+name4")).json()
        assert (named["rerank"]["num_candidates"], named["model"]) == (4, f"{listed[0]['id']}+name4")
        for body, headers, source in (
            ({"rerank": {"profile": "no"}}, {}, "rerank.profile"),
            ({}, {"X-Rerank-Profile": "no"}, "X-Rerank-Profile"),
        ):
            refused = await setup.complete(headers={**header, **headers}, **body)
            assert refusal(refused) == (400, "unknown_profile")
            assert refused.json()["error"]["param"] == source
        given = {"prompt": "hello", "candidates": ["a", "b"], "rerank": {"profile": "cold"}}
        assert (await setup.client.post("/v1/rerank/candidates", json=given, headers=header)).status_code == 200
        none = {**given, "rerank": {"profile": "none"}}
        assert refusal(await setup.client.post("/v1/rerank/candidates", json=none, headers=header)) == (400, "conflict")


@pytest.mark.parametrize(
    ("profiles", "named"),
    [
        ({"Loud": {}}, "Loud"),
        ({"tests": {}}, "tests"),
        ({"a+b": {}}, "a\\+b"),
        ({"a": {"tests": {"code": "assert 1"}}}, "tests"),
        ({"a": {"method": "luck"}}, "luck"),
        ({"a": {"num_candidates": 65}}, "max_candidates"),
        ({"a": {"max_candidates": 3}}, "max_candidates"),
        ({"a": {"dedupe": "maybe"}}, "dedupe"),
        ({"a": {"speed": 1}}, "speed"),
    ],
)
def test_a_profile_that_cannot_be_used_is_refused_at_the_start(
    tmp_path: Path, profiles: dict[str, Any], named: str
) -> None:
    with pytest.raises(ConfigError, match=rf"profiles.*{named}"):
        load(
            None, {"state_dir": tmp_path, "profiles": profiles} if all(profiles.values()) else _with(tmp_path, profiles)
        )


def _with(tmp_path: Path, profiles: dict[str, Any]) -> dict[str, Any]:
    """`load` drops what is empty, so an empty profile says something."""
    return {"state_dir": tmp_path, "profiles": {name: {"num_candidates": 2} for name in profiles}}


def test_keys_take_a_profile_that_is_there(tmp_path: Path) -> None:
    config = tmp_path / "touchstone.toml"
    config.write_text('[profiles.tests8]\nmethod = "tests"\nnum_candidates = 8\n')

    def create(*arguments: str) -> int:
        where = ["--config", str(config), "--state-dir", str(tmp_path)]
        return CliRunner().invoke(app, ["create", "ada", *arguments, *where]).exit_code

    assert create("--profile", "no") == 2
    assert create("--profile", "tests8", "--rerank", "auto") == 2
    assert create("--profile", "tests8") == 0
    [key] = read_keys(tmp_path / "keys.json")
    assert key.profile == "tests8"
