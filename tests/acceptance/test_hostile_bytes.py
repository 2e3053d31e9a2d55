"""What no client should send, byte by byte, to a real process: refused in time, others are served meanwhile."""

import contextlib
import json
import socket
import time
from collections.abc import Iterator

import httpx
import pytest

from .conftest import Served, Start

POST = b"POST /v1/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"


@pytest.fixture(scope="module")
def hasty(start_server: Start) -> Served:
    """A server that waits a second."""
    return start_server(settings="[server]\nreceive_timeout_s = 1.0\nbody_limit_bytes = 1048576")


@pytest.fixture
def connection(hasty: Served) -> Iterator[socket.socket]:
    with dial(hasty) as made:
        yield made


def dial(served: Served) -> socket.socket:
    url = httpx.URL(served.url)
    return socket.create_connection((url.host, url.port), timeout=30)


def answer(connection: socket.socket) -> tuple[int, dict[str, object]]:
    """Status and body of what comes until the server closes."""
    whole = b""
    while part := connection.recv(65536):
        whole += part
    head, _, body = whole.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)["error"]


def serves(served: Served) -> bool:
    reply = httpx.post(f"{served.url}/v1/completions", json={"prompt": "hello", "rerank": {"method": "off"}})
    return reply.status_code == 200


@pytest.mark.parametrize("sent", [b"", POST, b"GET /health HTTP/1.1\r\nx-slow: "])
def test_a_head_that_does_not_come_is_given_up(connection: socket.socket, sent: bytes) -> None:
    connection.sendall(sent)
    status, error = answer(connection)
    assert (status, error["code"], error["message"]) == (
        408,
        "request_timeout",
        "the request's head did not come within 1 s",
    )


def test_a_head_that_comes_byte_by_byte_is_given_up_too(connection: socket.socket) -> None:
    began = time.monotonic()
    with contextlib.suppress(OSError):  # closed, one way or the other
        while time.monotonic() - began < 10:
            connection.sendall(b"x")
            time.sleep(0.05)
    assert time.monotonic() - began < 5


def test_a_body_that_does_not_come_is_given_up(connection: socket.socket) -> None:
    connection.sendall(POST + b'connection: close\r\ncontent-length: 100\r\n\r\n{"prompt"')
    status, error = answer(connection)
    assert (status, error["message"]) == (408, "the request's body did not come within 1 s")


def test_an_endless_header_is_refused(connection: socket.socket) -> None:
    connection.sendall(POST + b"x-bomb: " + b"a" * 60_000)
    time.sleep(0.1)
    connection.sendall(b"a" * 10_000)
    status, error = answer(connection)
    assert (status, error["code"]) == (431, "head_too_large")


def test_a_body_of_100_megabytes_is_refused_before_it_is_read(connection: socket.socket) -> None:
    connection.sendall(POST + b"connection: close\r\ncontent-length: 104857600\r\n\r\n" + b" " * 1000)
    assert answer(connection)[0] == 413


def test_a_body_of_unknown_length_is_refused_once_it_is_too_large(connection: socket.socket) -> None:
    connection.sendall(POST + b"connection: close\r\ntransfer-encoding: chunked\r\n\r\n")
    connection.sendall((b"80000\r\n" + b" " * 0x80000 + b"\r\n") * 2 + b"1\r\n \r\n")
    assert answer(connection)[0] == 413


def test_a_hundred_slow_clients_keep_nobody_waiting(hasty: Served) -> None:
    slow = [dial(hasty) for _ in range(100)]
    try:
        for each in slow:
            each.sendall(POST)
        assert serves(hasty)
    finally:
        for each in slow:
            each.close()


def test_a_keyed_connection_goes_on_after_an_answer(hasty: Served) -> None:
    with httpx.Client(base_url=hasty.url) as client:
        for pause in (0.0, 1.5):  # longer than a head may take: nothing was begun
            time.sleep(pause)
            assert client.get("/health").status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 500_000,
        b'{"prompt": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"prompt": "x", "temperature": 1e999}',
        b'{"prompt": "x", "temperature": NaN}',
        b'{"prompt": "x", "max_tokens": ' + b"9" * 4000 + b"}",
        b'{"prompt": "x", "seed": -' + b"9" * 100_000 + b"}",
        b'{"prompt": "\xff\xfe"}',
        b'{"prompt": "\\ud800"}',
        b"\x00" * 1000,
        b"",
        b"null",
        b'{"prompt": "x", "prompt": ["y", 1]}',
        b'{"prompt": "hello", "logit_bias": {"' + b"1" * 10_000 + b'": 1}}',
        b'{"prompt": "hello", "stop": [' + b'"a",' * 100_000 + b'"b"]}',
        b'{"prompt": "hello", "rerank": {"tests": {"code": "' + b"(" * 100_000 + b'"}}}',
        b'{"prompt": "hello", "rerank": {"tests": {"code": "assert ' + b"-" * 200_000 + b'1"}}}',
        json.dumps({"prompt": "hello", "\x00\x1f\x7f\r\nx-injected: 1": 1}).encode(),
    ],
    ids=lambda body: repr(body[:40]),
)
def test_a_hostile_body_is_refused_or_served_and_never_a_5xx(hasty: Served, body: bytes) -> None:
    for path in ("/v1/completions", "/v1/chat/completions", "/v1/feedback"):
        headers = {"content-type": "application/json"}
        reply = httpx.post(f"{hasty.url}{path}", content=body, headers=headers, timeout=60)
        assert reply.status_code < 500, reply.text
        assert reply.status_code == 200 or set(reply.json()["error"]) == {"message", "type", "param", "code"}
        assert "x-injected" not in reply.headers
    assert serves(hasty)
