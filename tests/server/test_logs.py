"""The process's log in both forms: request ids in every line, an access log, and nothing of what is in a request."""

import io
import json
import logging
from collections.abc import Iterator

import pytest

from engine import EngineFailed, GenerationRequest, ScriptedEngine
from server.logs import configure

from .conftest import Serve

SECRET = "the text of a prompt"


class Broken(ScriptedEngine):
    """Fails in a way nobody foresaw."""

    async def generate(self, request: GenerationRequest):  # type: ignore[no-untyped-def]
        raise RuntimeError("nobody foresaw this")
        yield EngineFailed("")


@pytest.fixture
def restored() -> Iterator[None]:
    root, ours = logging.getLogger(), [logging.getLogger(name) for name in ("engine", "touchstone.access")]
    before, levels = (root.handlers[:], root.level), [logger.level for logger in ours]
    yield
    root.handlers[:], root.level = before
    for logger, level in zip(ours, levels, strict=True):
        logger.setLevel(level)


@pytest.mark.usefixtures("restored")
async def test_json_lines_have_the_requests_id_and_none_of_its_text(serve: Serve) -> None:
    out = io.StringIO()
    configure("json", access=True, out=out)
    async with serve(engine=Broken({})) as server:
        await server.complete(SECRET, {"X-Request-Id": "mine"}, rerank={"method": "off"})
        await server.client.get(f"/v1/models/{SECRET.replace(' ', '-')}", headers={"X-Request-Id": "other"})
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    lines = [line for line in lines if line["logger"].startswith(("server", "touchstone"))]
    error, *accesses = lines
    assert (error["level"], error["request_id"]) == ("error", "mine")
    assert "nobody foresaw this" in error["traceback"]
    assert [(line["request_id"], line["route"], line["status"]) for line in accesses] == [
        ("mine", "/v1/completions", 500),
        ("other", "/v1/models/{id}", 404),
    ]
    assert all(line["duration_ms"] >= 0 and line["method"] in ("POST", "GET") for line in accesses)
    assert SECRET not in out.getvalue()
    assert SECRET.replace(" ", "-") not in json.dumps(lines)


@pytest.mark.usefixtures("restored")
async def test_human_lines_end_with_the_id_and_the_access_log_can_be_off(serve: Serve) -> None:
    out = io.StringIO()
    configure("human", access=False, out=out)
    async with serve(engine=Broken({})) as server:
        await server.complete(SECRET, {"X-Request-Id": "mine"}, rerank={"method": "off"})
    found = out.getvalue()
    assert "ERROR server.errors: unexpected RuntimeError [mine]" in found
    assert "touchstone.access" not in found
    configure("human", access=True, out=out)
    async with serve() as server:
        await server.complete("hello", {"X-Request-Id": "yours"}, rerank={"method": "off"})
    assert "INFO touchstone.access: POST /v1/completions 200 " in out.getvalue()
    assert out.getvalue().endswith(" ms [yours]\n")
