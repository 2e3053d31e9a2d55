"""`touchstone eval --url`: a server's own ranking is measured, logged as an evaluation, and its errors are errors."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest

from feedback import SqlStore
from reranker.evaluation import (
    InvalidSetting,
    Problem,
    ProblemFailed,
    ProblemSuite,
    Record,
    Report,
    ServerFailed,
    Settings,
    evaluate,
    open_server,
)
from sandbox import LocalSandbox

from .conftest import Served, Start

SHOWN = Problem(
    task_id="shown",
    prompt='def inc(x):\n    """Add one.\n\n    >>> inc(1)\n    2\n    """\n',
    test="def check(candidate):\n    assert candidate(5) == 6\n",
    entry_point="inc",
)
TESTED = Problem(
    task_id="tested",
    prompt="def one():\n",
    visible_test="assert one() == 1\n",
    test="assert one() in (1, 3)\n",
    entry_point="one",
)
GAP = Problem(task_id="gap", prompt="def f(x):", suffix="\n    return y\n", test="assert f(3) == 3\n", entry_point="f")
SUITE = ProblemSuite(name="small", problems=(SHOWN, TESTED, GAP), source="memory")
SCRIPT = {
    SHOWN.prompt: ["    return x - 1\n", "    return x + 1\n", "    return 2\n", "    return x + 1  # again\n"],
    TESTED.prompt: ["    return 2\n", "    return 1\n", "    return 3\n", "    return 4\n"],
    "def f(x):<FILL>\n    return y\n": ["\n    y = x", "\n    y = 2"],
}
FOUR = Settings(n=4, ks=(1, 2, 4))


async def measure(url: str, settings: Settings = FOUR, **options: Any) -> Report:
    sandbox = LocalSandbox()
    try:
        source = await open_server(f"{url}/v1", first_pause_s=0.01)
        try:
            return await evaluate(SUITE, source, settings, sandbox=sandbox, **options)
        finally:
            await source.aclose()
    finally:
        await sandbox.aclose()


@pytest.fixture(scope="module")
def small(start_server: Start) -> Served:
    served = start_server(SCRIPT)
    if served.tier is None:
        pytest.skip("this host grants no isolation")
    return served


async def test_the_servers_ranking_is_measured_and_logged_as_an_evaluation(small: Served) -> None:
    report = await measure(small.url)
    assert (report.source.kind, report.source.engine, report.source.model) == ("server", "scripted", "scripted")
    shown, tested, gap = report.records
    assert shown.texts == ("    return x - 1", "    return x + 1", "    return 2")
    assert shown.samples == (0, 1, 2, 1)
    assert shown.passes == (False, True, False, True)
    assert shown.greedy == 0
    assert shown.orders["examples"] == shown.orders["auto"]
    assert set(shown.orders["examples"][:3]) == {1, 2, 3}
    assert tested.orders["tests"][0] == 1
    assert tested.passes == (False, True, True, False)
    assert gap.passes == (True, False, True, False)
    assert all(len(record.logprobs) == 4 and None not in record.logprobs for record in report.records)
    assert report.counts.tokens > 0
    store = SqlStore.open(small.state_dir / "touchstone.db", create=False)
    try:
        assert await store.count(purpose="eval") == 6  # for each problem, one to choose among and the greedy one
        assert await store.count() == 6
    finally:
        await store.aclose()


async def test_the_method_asked_for_decides(small: Served) -> None:
    settings = Settings(n=4, ks=(4,), method="likelihood", greedy=False)
    suite = ProblemSuite(name="shown", problems=(SHOWN,), source="memory")
    sandbox = LocalSandbox()
    with pytest.raises(ServerFailed, match=r"ends in /v1"):
        await open_server(small.url)
    source = await open_server(f"{small.url}/v1")
    report = await evaluate(suite, source, settings, sandbox=sandbox)
    await source.aclose()
    await sandbox.aclose()
    # All are equally likely; the second was sampled twice, and its copy comes after all that are new.
    assert report.records[0].orders == {"likelihood": (1, 0, 2, 3)}
    assert report.records[0].greedy is None


async def test_what_the_server_refuses_is_an_error_with_the_problems_name(small: Served) -> None:
    finished: list[Record] = []
    with pytest.raises(ProblemFailed, match=r"^(shown|tested|gap): .*HTTP 400: rerank.num_candidates: at most 64"):
        await measure(small.url, Settings(n=65, ks=(1,)), on_record=finished.append)
    assert finished == []


class Canned(BaseHTTPRequestHandler):
    """A server that is busy twice, and then whatever the test says."""

    busy, status, reply, asked = 2, 200, b"{}", 0

    def do_GET(self) -> None:
        entry = {"id": "canned", "engine": "none", "effective_dtype": "none"}
        self._send(200, json.dumps({"data": [entry]}).encode())

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        cls = type(self)
        cls.asked += 1
        busy = cls.asked <= cls.busy
        self._send(429 if busy and cls.asked % 2 else 503 if busy else cls.status, cls.reply)

    def _send(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Retry-After", "0")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the base class calls it so
        """Say nothing."""


@contextmanager
def canned(**answers: Any) -> Iterator[tuple[str, type[Canned]]]:
    handler = type("Handler", (Canned,), answers)
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", handler
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def reply(**whole: Any) -> bytes:
    block = {"candidate": 0, "mean_logprob": -0.5}
    told = {"status": "complete", "method": "examples", "seed_honoured": False} | whole
    body = {
        "choices": [{"text": "    return x + 1", "rerank": block}],
        "rerank": told,
        "usage": {"completion_tokens": 9},
    }
    return json.dumps(body).encode()


ONE = Settings(n=1, ks=(1,), greedy=False)


async def test_a_busy_server_is_asked_again(small: Served) -> None:
    with canned(reply=reply()) as (url, handler):
        report = await measure(url, ONE, limit=1)
    assert handler.asked == 3
    assert report.records[0].passes == (True,)


@pytest.mark.parametrize(
    ("answers", "settings", "error", "said"),
    [
        ({"busy": 99}, ONE, ProblemFailed, "shown: the server answered HTTP 503"),
        ({"status": 500, "reply": b'{"error": {"message": "it broke"}}'}, ONE, ProblemFailed, "HTTP 500: it broke"),
        ({"reply": b"[]"}, ONE, ProblemFailed, "shown: the server answered HTTP 200"),
        ({"reply": b"{}"}, ONE, ProblemFailed, "another shape"),
        ({"reply": reply(status="degraded", reason="no sandbox")}, ONE, ProblemFailed, "degraded: no sandbox"),
        ({"reply": reply()}, Settings(n=1, ks=(1,), seed=7, greedy=False), InvalidSetting, "seed: the server"),
        ({"reply": reply()}, Settings(n=2, ks=(1,), greedy=False), ProblemFailed, "another shape"),
        ({}, Settings(method="off"), InvalidSetting, "method: 'off'"),
    ],
)
async def test_a_server_that_fails_is_an_error(
    answers: dict[str, Any], settings: Settings, error: type[Exception], said: str
) -> None:
    with canned(**answers) as (url, _), pytest.raises(error, match=said):
        await measure(url, settings, limit=1)


async def test_no_server_is_an_error_too() -> None:
    with pytest.raises(ServerFailed, match="cannot be reached"):
        await open_server("http://127.0.0.1:9/v1")


@contextmanager
def _unused() -> Iterator[None]:
    yield
