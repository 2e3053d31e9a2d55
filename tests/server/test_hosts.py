"""Under which names a server without keys is asked: a page that has its own name lead here finds nobody."""

from pathlib import Path

import pytest

from server.config import ConfigError, load
from server.errors import ApiError
from server.hosts import Hosts

from .conftest import Serve, Setup
from .test_keys import added, refusal


def allowed(hosts: Hosts, host: str | None, *, keys_in_use: bool = False) -> bool:
    try:
        headers = [] if host is None else [(b"host", host.encode())]
        hosts.check({"headers": headers}, keys_in_use=keys_in_use)
    except ApiError as error:
        return error.code != "foreign_host"
    return True


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST.:8000", "127.0.0.1:8000", "[::1]", "[::1]:8000", "box:", None]
)
def test_its_own_names_are_heard(host: str | None) -> None:
    assert allowed(Hosts("127.0.0.1", ("box",)), host)


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example:80", "::1", "", "[::2]"]
)
def test_other_names_are_not_while_there_are_no_keys(host: str) -> None:
    hosts = Hosts("127.0.0.1", ())
    assert not allowed(hosts, host)
    assert allowed(hosts, host, keys_in_use=True)


def test_beyond_loopback_only_what_was_named_is_held_to() -> None:
    assert allowed(Hosts("0.0.0.0", ()), "anything.example")
    assert not allowed(Hosts("0.0.0.0", ("box",)), "anything.example")
    assert allowed(Hosts("::1", ()), "[::1]:80")
    assert allowed(Hosts("127.0.0.9", ()), "127.0.0.9")


async def test_a_rebound_page_is_refused_on_every_route_that_tells_anything(server: Setup, tmp_path: Path) -> None:
    rebound = {"Host": "evil.example:8000"}
    assert refusal(await server.complete(headers=rebound)) == (403, "foreign_host")
    for path in ("/v1/models", "/metrics", "/admin/models", "/v1/rerank/cmpl-1"):
        assert refusal(await server.client.get(path, headers=rebound)) == (403, "foreign_host")
    assert (await server.client.get("/health", headers=rebound)).status_code == 200
    _, header = added(tmp_path)
    assert (await server.complete(headers={**rebound, **header})).status_code == 200


async def test_a_name_can_be_added(serve: Serve) -> None:
    async with serve(server={"hosts": ["box.example"]}) as setup:
        assert (await setup.complete(headers={"Host": "box.example:8000"})).status_code == 200


@pytest.mark.parametrize("host", ["", "*", "http://box", "box:80", "::1"])
def test_what_is_no_name_is_refused(tmp_path: Path, host: str) -> None:
    with pytest.raises(ConfigError, match=r"server\.hosts"):
        load(None, {"state_dir": tmp_path, "server": {"hosts": [host]}})
