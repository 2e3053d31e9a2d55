"""From one champion to the next: what requests see, what is freed, what is refused."""

import asyncio
import math
from pathlib import Path

import pytest

from engine import ScriptedEngine

from .fleet import Fleet, add_round, closed, engine_of, fleet, id_of, name_of, until


async def test_the_pointer_is_followed_and_the_old_model_freed(tmp_path: Path) -> None:
    async with fleet(tmp_path) as served:
        await served.switching.look()
        assert await served.who() == "r0"
        served.store.set_champion(id_of(0), id_of(1))
        await served.switching.look()
        assert await served.who() == "r1"
        await until(lambda: closed(served.engines[id_of(0)]) and not served.service.roster.replaced)
        assert await served.metric('touchstone_model_switches_total{result="done"}') == 1
        labels = f'effective_dtype="none",engine="scripted",model="{name_of(1)}",role="champion",round="1"'
        text = (await served.client.get("/metrics")).text
        [line] = [line for line in text.splitlines() if line.startswith("touchstone_model_info{")]
        assert all(label in line for label in labels.split(","))
        assert await served.metric('touchstone_answers_total{outcome="untested",role="champion",round="1"}') == 1


async def test_open_requests_keep_their_model_and_newcomers_get_the_new_one(tmp_path: Path) -> None:
    async with fleet(tmp_path) as served:
        old = served.service.roster.champion
        assert old is not None
        streams = [asyncio.create_task(served.stream()) for _ in range(8)]
        plain = asyncio.create_task(served.complete("slow", rerank={"method": "off"}))
        await until(lambda: old.leases == 9)
        served.store.set_champion(id_of(0), id_of(1))
        await served.switching.look()
        assert await served.who() == "r1"
        assert [model["role"] for model in (await served.ready())["models"]] == ["champion", "replaced"]
        assert not closed(served.engines[id_of(0)])
        for number, text, prints in await asyncio.gather(*streams):
            assert (number, text, prints) == (0, "0" * 40, {"scripted-none-r0"})
        assert (await plain).json()["choices"][0]["text"] == "0" * 40
        await until(lambda: closed(served.engines[id_of(0)]))
        assert await served.who() == "r1"


async def test_names_of_replaced_rounds_mean_the_champion_and_the_reply_says_so(tmp_path: Path) -> None:
    async with fleet(tmp_path, rounds=4) as served:
        served.store.set_champion(id_of(0), id_of(3))
        await served.switching.look()
        # Round 0 was served by this process, 1 and 2 are what 3 was trained from.
        for name in (name_of(0), name_of(1), name_of(2), name_of(3), f"{name_of(0)}+off", "tiny:1m-int8", None):
            assert await served.who(model=name) == "r3"
        reply = (await served.complete(model=f"{name_of(0)}+likelihood2")).json()
        assert (reply["model"], reply["rerank"]["method"]) == (f"{name_of(3)}+likelihood2", "likelihood")
        assert (await served.complete(model="tiny:1m-int8.r7")).status_code == 404
        entry = (await served.client.get(f"/v1/models/{name_of(0)}")).json()
        assert (entry["id"], entry["round"], entry["role"]) == (name_of(3), 3, "champion")


async def test_a_model_with_a_damaged_file_is_not_switched_to(tmp_path: Path) -> None:
    async with fleet(tmp_path) as served:
        weights = served.store.root / id_of(1) / "ct2-int8" / "model.bin"
        whole = weights.read_bytes()
        weights.write_bytes(b"?" + whole[1:])
        served.store.set_champion(id_of(0), id_of(1))
        for _ in range(3):
            await served.switching.look()
        assert served.loads[id_of(1)] == 0
        await stays(served, "ct2-int8/model.bin: changed")
        weights.write_bytes(whole)
        await served.switching.look()
        assert await served.who() == "r0"  # not tried again
        served.store.set_champion(id_of(1), id_of(1))
        await served.switching.look()
        assert await served.who() == "r1"
        assert "not_served" not in await served.ready()


async def test_a_champion_that_is_gone_or_a_pointer_that_is_broken(tmp_path: Path) -> None:
    async with fleet(tmp_path) as served:
        served.store.set_champion(id_of(0), id_of(1))
        (served.store.root / id_of(1)).rename(tmp_path / "elsewhere")
        await served.switching.look()
        await stays(served, "no model")
        (served.store.root / "champion.json").write_text("{")
        await served.switching.look()
        await stays(served, "champion.json", model_id="champion.json")


def bad_numbers() -> ScriptedEngine:
    return engine_of(1, logprob=math.nan)


def guessing() -> ScriptedEngine:
    return engine_of(1, logprob=-7.0)


@pytest.mark.parametrize(("make", "words"), [(bad_numbers, "log-probability nan"), (guessing, "it guesses")])
async def test_a_model_that_fails_its_self_check_is_not_switched_to(
    tmp_path: Path, make: type[ScriptedEngine], words: str
) -> None:
    async with fleet(tmp_path) as served:
        served.make[id_of(1)] = make
        served.store.set_champion(id_of(0), id_of(1))
        for _ in range(3):
            await served.switching.look()
        assert served.loads[id_of(1)] == 1
        await stays(served, words)
        assert closed(served.engines[id_of(1)])


def failing() -> ScriptedEngine:
    raise RuntimeError("bad weights")


async def test_a_model_may_fail_in_any_way(tmp_path: Path) -> None:
    for way in ("beside", "after"):
        async with fleet(tmp_path / way, switch=way) as served:
            served.make[id_of(1)] = failing
            served.store.set_champion(id_of(0), id_of(1))
            await served.switching.look()
            await stays(served, "RuntimeError: bad weights")


@pytest.mark.parametrize(
    ("recorded", "words"),
    [
        ([{"prompt": "a", "completion": "b", "mean_logprob": -0.5}], None),
        ([{"prompt": "a", "completion": "b", "mean_logprob": -1.5}], "recorded as -1.5"),
        ([{"prompt": "a", "completion": "b", "mean_logprob": math.nan}], "self_check"),
        ([{"prompt": "a"}], "completion"),
        ("all is well", "self_check"),
    ],
)
async def test_what_the_publisher_recorded_is_computed_again(
    tmp_path: Path, recorded: object, words: str | None
) -> None:
    async with fleet(tmp_path, rounds=1) as served:
        add_round(served.store, 1, evaluation={"self_check": recorded})
        served.store.set_champion(id_of(0), id_of(1))
        await served.switching.look()
        if words is None:
            assert await served.who() == "r1"
        else:
            await stays(served, words)


async def test_without_room_newcomers_are_told_to_come_again_until_the_new_one_is_there(tmp_path: Path) -> None:
    async with fleet(tmp_path, switch="after") as served:
        old = served.service.roster.champion
        assert old is not None
        stream = asyncio.create_task(served.stream())
        await until(lambda: old.leases == 1)
        served.gates[id_of(1)] = asyncio.Event()
        served.store.set_champion(id_of(0), id_of(1))
        looking = asyncio.create_task(served.switching.look())
        await until(lambda: served.service.roster.switching)
        refused = await served.complete()
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "switching")
        assert int(refused.headers["retry-after"]) >= 1
        ready = await served.ready()
        assert (ready["code"], ready["status"]) == (503, "switching")
        assert (await served.client.get("/health")).json() == {"status": "ok"}
        assert (await served.client.get("/v1/models")).status_code == 503
        assert (await stream)[1] == "0" * 40
        await until(lambda: served.loads[id_of(1)] == 1)
        assert closed(served.engines[id_of(0)])  # before the new one is made
        served.gates[id_of(1)].set()
        await looking
        assert await served.who() == "r1"
        assert (await served.ready())["status"] == "ready"


async def test_without_room_a_model_that_fails_brings_the_old_one_back(tmp_path: Path) -> None:
    async with fleet(tmp_path, switch="after") as served:
        served.make[id_of(1)] = guessing
        served.store.set_champion(id_of(0), id_of(1))
        await served.switching.look()
        assert served.loads == {id_of(1): 1, id_of(0): 1}
        await stays(served, "it guesses")
        await served.switching.look()
        assert served.loads[id_of(1)] == 1


async def test_requests_that_outlive_the_drain_end_with_what_they_have(tmp_path: Path) -> None:
    async with fleet(tmp_path, switch="after", drain_s=0.05) as served:
        old = served.service.roster.champion
        assert old is not None
        stream = asyncio.create_task(served.stream())
        await until(lambda: old.leases == 1)
        served.store.set_champion(id_of(0), id_of(1))
        await served.switching.look()
        number, text, _ = await stream
        assert number == 0
        assert set(text) <= {"0"}
        assert len(text) < 40
        assert await served.who() == "r1"


async def test_ten_switches_leave_one_model(tmp_path: Path) -> None:
    async with fleet(tmp_path) as served:
        before = len(asyncio.all_tasks())
        for number in range(10):
            served.store.set_champion(id_of(number % 2), id_of((number + 1) % 2))
            await served.switching.look()
        await until(lambda: len(list(served.service.roster)) == 1)
        await until(lambda: len(asyncio.all_tasks()) == before)
        assert await served.who() == "r0"


async def test_the_watch_follows_by_itself_and_ends_when_told(tmp_path: Path) -> None:
    async with fleet(tmp_path, champion_poll_s=0.01) as served:
        watching = asyncio.create_task(served.switching.watch())
        served.store.set_champion(id_of(0), id_of(1))
        await until(lambda: served.service.roster.champion is not None and served.service.roster.champion.round == 1)
        await served.switching.aclose()
        async with asyncio.timeout(5):
            await watching


async def stays(served: Fleet, words: str, model_id: str = id_of(1)) -> None:
    """Round 0 is still served, and everything says why it is not the other one."""
    assert await served.who() == "r0"
    ready = await served.ready()
    assert (ready["code"], ready["status"], ready["model"]) == (200, "ready", name_of(0))
    assert ready["not_served"]["id"] == model_id
    assert words in ready["not_served"]["reason"]
    assert await served.metric('touchstone_model_switches_total{result="failed"}') >= 1
