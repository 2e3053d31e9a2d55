"""Two real servers that share a log in PostgreSQL."""

import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.feedback.conftest import cluster as cluster
from tests.feedback.postgres import Cluster

from .conftest import Served, Start

pytestmark = pytest.mark.postgres
Pair = tuple[Served, Served]
ENDLESS = {"prompt": "endless", "max_tokens": 5000, "rerank": {"method": "off"}}
SLOW = {"prompt": "slow", "rerank": {"method": "off"}}
QUICK = {**SLOW, "max_tokens": 1}
LIMITS = "[limits]\nrequests_per_minute = 30\nconcurrency = 4"


def until_running(served: Served, number: int) -> None:
    end = time.monotonic() + 30
    while served.metric("touchstone_requests_running") != number:
        assert time.monotonic() < end
        time.sleep(0.01)


def until_answered(request: Callable[[], httpx.Response]) -> None:
    end = time.monotonic() + 30
    while (reply := request()).status_code != 200:
        assert time.monotonic() < end, reply.text
        time.sleep(0.1)


@pytest.fixture(scope="module")
def start_pair(cluster: Cluster, start_slow_server: Start) -> Iterator[object]:
    started: list[Served] = []

    def start(more: str = "") -> Pair:
        url = cluster.new_database()
        settings = f'[feedback]\ndatabase_url = "{url}"\n[server]\nreplicas = 2\n{more}'
        pair = start_slow_server(settings=settings), start_slow_server(settings=settings)
        started.extend(pair)
        return pair

    yield start
    left = [served for served in started if served.process.poll() is None]
    assert [served.stop() for served in left] == [0] * len(left)


@pytest.fixture(scope="module")
def pair(start_pair: object) -> Pair:
    return start_pair()  # type: ignore[operator,no-any-return]


def ask(served: Served, body: Mapping[str, object] = SLOW, *, key: str = "", name: str = "any") -> httpx.Response:
    headers = {"x-request-id": name, **({"idempotency-key": key} if key else {})}
    return httpx.post(f"{served.url}/v1/completions", json=body, headers=headers, timeout=60)


def test_a_cancel_ends_what_runs_at_the_other_server(pair: Pair) -> None:
    here, there = pair
    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(ask, served, ENDLESS, name="mine") for served in pair]
        for served in pair:
            until_running(served, 1)
        reply = httpx.post(f"{here.url}/v1/requests/mine/cancel", timeout=30)
        assert reply.status_code == 200
        assert len(reply.json()["cancelled"]) == 2
        assert [told.result().status_code for told in both] == [499, 499]
        for served in pair:
            until_running(served, 0)
    began = time.monotonic()
    unknown = httpx.post(f"{there.url}/v1/requests/mine/cancel", timeout=30)
    assert unknown.status_code == 404
    assert time.monotonic() - began < 2  # the others said that they have none; nothing is waited out


def test_a_record_and_what_is_said_of_it_may_meet_different_servers(pair: Pair) -> None:
    here, there = pair
    reply = ask(here).json()
    signal = {"id": reply["id"], "type": "accept"}
    assert httpx.post(f"{there.url}/v1/feedback", json=signal).status_code == 202
    record = httpx.get(f"{there.url}/v1/rerank/{reply['id']}")
    assert record.status_code == 200
    assert '"accept"' in record.text


def test_a_rate_and_a_number_at_once_count_at_all_servers(start_pair: object) -> None:
    pair: Pair = start_pair(LIMITS)  # type: ignore[operator]
    with ThreadPoolExecutor(8) as pool:
        held = [pool.submit(ask, pair[0]) for _ in range(4)]
        until_running(pair[0], 4)
        time.sleep(0.5)  # until the other was told
        refused = ask(pair[1])
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "concurrency_limit_exceeded")
        assert [one.result().status_code for one in held] == [200] * 4
        time.sleep(0.5)
        answered, began = 4, time.monotonic()
        for _ in range(20):
            answered += sum(reply.status_code == 200 for reply in pool.map(ask, pair, [QUICK, QUICK]))
    flowed = 0.5 * (time.monotonic() - began + 5)
    assert 30 <= answered <= 30 + flowed + 2  # a minute's worth, what has flowed in since, and one more a server
    assert ask(pair[1], QUICK).json()["error"]["code"] == "rate_limit_exceeded"


def test_a_request_sent_again_to_the_other_server_is_not_run_again(pair: Pair) -> None:
    here, there = pair
    first = ask(here, key="one")
    again = ask(there, key="one")
    assert (again.status_code, again.json()) == (200, first.json())
    assert again.headers["idempotent-replayed"] == "true"
    assert ask(there, QUICK, key="one").status_code == 422


def test_a_request_sent_again_while_it_runs_waits_for_the_other_servers_answer(pair: Pair) -> None:
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(ask, pair[0], key="two")
        until_running(pair[0], 1)
        again = ask(pair[1], key="two")
        assert pair[1].metric("touchstone_requests_running") == 0
        assert again.json() == first.result().json()


def test_what_a_killed_server_worked_on_is_done_by_the_other(start_pair: object) -> None:
    here, there = start_pair()  # type: ignore[operator]
    with ThreadPoolExecutor(1) as pool:
        lost = pool.submit(ask, here, key="three")
        until_running(here, 1)
        here.process.kill()
        assert isinstance(lost.exception(), httpx.TransportError)
    reply = ask(there, key="three")
    assert reply.status_code == 200
    assert "idempotent-replayed" not in reply.headers


def test_after_the_database_was_away_they_hear_each_other_again(start_pair: object, cluster: Cluster) -> None:
    here, there = start_pair()  # type: ignore[operator]
    cluster.kill()
    kept = ask(here, QUICK)
    assert kept.status_code == 200  # its record waits in the outbox
    cluster.start()
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(ask, there, ENDLESS, name="later")
        until_running(there, 1)
        until_answered(lambda: httpx.post(f"{here.url}/v1/requests/later/cancel", timeout=30))
        assert running.result().status_code == 499
    until_answered(lambda: httpx.get(f"{there.url}/v1/rerank/{kept.json()['id']}"))
