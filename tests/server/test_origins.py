"""Web pages: refused where nobody needs a key, heard where they are named."""

from pathlib import Path

import pytest

from server.config import ConfigError, load

from .conftest import Serve, Setup
from .test_keys import added, refusal

PAGE = "https://tools.example.org"
ASKED = {"Origin": PAGE, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}


async def test_a_page_cannot_set_a_server_without_keys_to_work(server: Setup) -> None:
    blind = {"Origin": "https://evil.example", "Content-Type": "text/plain"}
    reply = await server.client.post("/v1/completions", content='{"prompt": "hello"}', headers=blind)
    assert refusal(reply) == (403, "foreign_origin")
    assert "access-control-allow-origin" not in reply.headers
    for origin in ("null", "http://test", "http://localhost:3000"):
        assert refusal(await server.complete(headers={"Origin": origin})) == (403, "foreign_origin")
    assert (await server.client.options("/v1/completions", headers=ASKED)).status_code == 403
    assert (await server.client.get("/health", headers=blind)).status_code == 200
    assert (await server.complete()).status_code == 200


async def test_with_keys_a_page_needs_one_and_still_cannot_read(server: Setup, tmp_path: Path) -> None:
    _, header = added(tmp_path)
    assert (await server.complete(headers={"Origin": PAGE})).status_code == 401
    reply = await server.complete(headers={"Origin": PAGE, **header})
    assert reply.status_code == 200
    assert not [name for name in reply.headers if name.startswith("access-control")]


async def test_a_page_that_is_named_may_ask_and_read(serve: Serve) -> None:
    async with serve(server={"cors_origins": [PAGE]}) as setup:
        asked = await setup.client.options("/v1/completions", headers=ASKED)
        assert asked.status_code == 204
        assert asked.headers["access-control-allow-origin"] == PAGE
        assert "content-type" in asked.headers["access-control-allow-headers"]
        reply = await setup.complete(headers={"Origin": PAGE})
        assert reply.status_code == 200
        assert reply.headers["access-control-allow-origin"] == PAGE
        assert reply.headers["vary"] == "origin"
        refused = await setup.complete(headers={"Origin": PAGE}, n=0)
        assert refused.status_code == 400
        assert refused.headers["access-control-allow-origin"] == PAGE
        assert refusal(await setup.complete(headers={"Origin": PAGE + ":8443"})) == (403, "foreign_origin")


@pytest.mark.parametrize("origin", ["*", "tools.example.org", f"{PAGE}/", f"{PAGE}/page"])
def test_what_is_no_origin_is_refused(tmp_path: Path, origin: str) -> None:
    with pytest.raises(ConfigError, match=r"server\.cors_origins"):
        load(None, {"state_dir": tmp_path, "server": {"cors_origins": [origin]}})
