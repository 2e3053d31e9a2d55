from __future__ import annotations

import asyncio
import threading
import time

from engine.delivery import INTERVAL_S, Mailbox, Outbox


async def test_events_of_many_threads_all_arrive_in_each_threads_order() -> None:
    arrived: list[tuple[int, int]] = []
    done = asyncio.Event()

    def receive(parcel: tuple[int, int]) -> None:
        arrived.append(parcel)
        if len(arrived) == 4000:
            done.set()

    outbox = Outbox(asyncio.get_running_loop(), receive)

    def send(thread: int) -> None:
        for number in range(1000):
            outbox.post((thread, number))

    threads = [threading.Thread(target=send, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    async with asyncio.timeout(30):
        await done.wait()
    for number in range(4):
        assert [count for thread, count in arrived if thread == number] == list(range(1000))
        threads[number].join()


async def test_wakeups_are_few() -> None:
    loop = asyncio.get_running_loop()
    wakeups: list[float] = []
    done = asyncio.Event()
    fresh = True

    def over() -> None:
        nonlocal fresh
        fresh = True

    def receive(parcel: str) -> None:
        nonlocal fresh
        if fresh:  # the first of those delivered together
            fresh = False
            wakeups.append(loop.time())
            loop.call_soon(over)
        if parcel == "last":
            done.set()

    outbox = Outbox(loop, receive)

    def send() -> None:
        ends = time.monotonic() + 0.1
        while time.monotonic() < ends:
            outbox.post("more")
        outbox.post("last")

    began = loop.time()
    thread = threading.Thread(target=send)
    thread.start()
    async with asyncio.timeout(30):
        await done.wait()
    thread.join()
    assert len(wakeups) <= (loop.time() - began) / INTERVAL_S + 2


async def test_what_is_urgent_does_not_wait_for_the_tick() -> None:
    arrived: list[str] = []
    outbox = Outbox(asyncio.get_running_loop(), arrived.append)
    outbox.post("first")
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert arrived == ["first"]
    outbox.post("ordinary")
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert arrived == ["first"]
    outbox.post("urgent", urgent=True)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert arrived == ["first", "ordinary", "urgent"]


async def test_a_reader_gets_what_is_put_while_it_waits() -> None:
    mailbox: Mailbox[int] = Mailbox()
    reader = asyncio.create_task(mailbox.get())
    await asyncio.sleep(0)
    mailbox.put(1)
    mailbox.put(2)
    assert await reader == 1
    assert await mailbox.get() == 2
