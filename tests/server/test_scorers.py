"""Learned scorers in the server: the bundled one, one that is named, one that is broken."""

import logging
import shutil
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from engine import EngineError, InvalidModel, ModelNotFound, find_verifier
from reranker import LEARNED
from server import Config, create_app
from server.scorers import BUNDLED, load_scorers

from .conftest import Serve
from .test_errors import error_of

SERVED = "touchstone:3.8m-int8.r0"


def config(state_dir: Path, **reranker: str) -> Config:
    return Config.model_validate({"state_dir": state_dir, "reranker": reranker})


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    """A copy of the bundled verifier with one byte changed."""
    folder = tmp_path / "verifiers" / BUNDLED
    shutil.copytree(find_verifier(BUNDLED, tmp_path / "none"), folder)
    weights = folder / "ct2-int8" / "model.bin"
    data = bytearray(weights.read_bytes())
    data[len(data) // 2] ^= 1
    weights.write_bytes(data)
    return folder


async def test_the_bundled_verifier_goes_with_the_bundled_model(tmp_path: Path) -> None:
    loaded = load_scorers(config(tmp_path), SERVED)
    assert set(loaded.scorers) == {"verifier", "features"}
    await loaded.aclose()
    assert not load_scorers(config(tmp_path), "qwen2.5-coder:7b-int8.r0").scorers
    assert not load_scorers(config(tmp_path, verifier=""), SERVED).scorers


async def test_features_alone_are_the_verifier(tmp_path: Path) -> None:
    whole = find_verifier(BUNDLED, tmp_path)
    loaded = load_scorers(config(tmp_path, verifier=str(whole)), "another:1b-int8.r0")
    assert loaded.scorers["verifier"] is not loaded.scorers["features"]
    await loaded.aclose()


def test_a_broken_one_is_left_out_with_a_warning_and_refused_where_it_was_named(
    tmp_path: Path, broken: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        assert not load_scorers(config(tmp_path), SERVED).scorers
    assert "model.bin" in caplog.text
    for name in (BUNDLED, str(broken)):
        with pytest.raises(InvalidModel, match=r"^reranker\.verifier: .*model\.bin"):
            load_scorers(config(tmp_path, verifier=name), SERVED)


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound, match=f"^reranker.verifier: .*{BUNDLED}"):
        load_scorers(config(tmp_path, verifier="mine"), SERVED)
    with pytest.raises(ModelNotFound, match=r"^reranker\.discriminator: "):
        load_scorers(config(tmp_path, discriminator="mine"), SERVED)
    with pytest.raises(EngineError, match=r"^reranker\.discriminator: "):  # it was trained to read results
        load_scorers(config(tmp_path, discriminator=BUNDLED), SERVED)
    wanting = Config.model_validate({"state_dir": tmp_path, "server": {"default_method": "verifier"}})
    with pytest.raises(ModelNotFound, match=r"server\.default_method"):
        load_scorers(wanting, "another:1b-int8.r0")


async def test_a_request_chooses_by_it(serve: Serve, tmp_path: Path) -> None:
    async with serve() as setup:
        refused = await setup.complete(rerank={"verifier": "default"})
        assert error_of(refused)["param"] == "rerank.verifier"
        for method in LEARNED:
            error = error_of(await setup.complete(rerank={"method": method}))
            assert error["param"] == "rerank.method"
            setting = "discriminator" if method == "discriminator" else "verifier"
            assert error["message"].endswith(f"none is loaded; the setting reranker.{setting} loads one")
        loaded = load_scorers(config(tmp_path), SERVED)
        transport = httpx.ASGITransport(create_app(replace(setup.parts, loaded=loaded)))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            off = {"method": "off", "verifier": "default"}
            refused = await client.post("/v1/completions", json={"prompt": "hello", "rerank": off})
            assert error_of(refused)["param"] == "rerank.verifier"
            for method in ("verifier", "features", "likelihood", "auto"):
                rerank = {"method": method, "num_candidates": 4, "verifier": "default"}
                body = (await client.post("/v1/completions", json={"prompt": "hello", "rerank": rerank})).json()
                assert body["rerank"]["status"] == "complete"
                assert body["rerank"]["method"] == method or method == "auto"
                assert body["choices"][0]["rerank"]["verifier"] < 0  # a logarithm
            names = [model["id"] for model in (await client.get("/v1/models")).json()["data"]]
            assert "scripted:1m-none.r2+verifier8" in names
        await loaded.aclose()
