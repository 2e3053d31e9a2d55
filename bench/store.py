"""The log under load, in SQLite or PostgreSQL: `python -m bench.store --exchanges 100000 [--cluster]`.

Writes exchanges (4 candidates of 300 bytes with their outcomes, as `bench.log` makes them) as a server would: some at
once, each waiting until it is on disk. Beyond 100,000 the database itself copies them under other ids, and another
10,000 are written by the store, to see what the size changes. Then signals on exchanges chosen at random: one by one,
and some at once.

Prints a row: exchanges a second, of the first 10,000 and of the last; p50, p99 and worst of a signal in ms, alone and
under load; bytes an exchange, with its candidates and indexes. What differs between exchanges is made beforehand.

SQLite by default, in a temporary folder; PostgreSQL with `--cluster`, which starts a server of its own that syncs (it
needs PostgreSQL's programs), or with `--database URL` (what is logged stays there: use a throw-away database).
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from sqlalchemy import Connection, create_engine, inspect, text

from bench.log import BEGIN, exchange
from feedback import Exchange, Signal, SqlStore

AT_ONCE = 64
"""Requests under way in a busy server."""
DIFFERENT = 2_000
"""Exchanges made up; the rest are copies of them with other ids, so that making them is not what is measured."""
WRITTEN, STEP = 100_000, 10_000
"""By the store; more are copies. And how many a rate is of."""
SIGNALS = 2_000


def main() -> None:
    """Print a table of one row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--exchanges", type=int, default=100_000)
    parser.add_argument("--database", help="a PostgreSQL URL")
    parser.add_argument("--cluster", action="store_true", help="start a PostgreSQL server for this run")
    parser.add_argument("--folder", type=Path, help="where to put the files (default: a temporary folder)")
    args = parser.parse_args()
    if args.folder is not None:
        args.folder.mkdir(parents=True, exist_ok=True)
    print(f"{args.exchanges:,} exchanges, {AT_ONCE} at once; load average {os.getloadavg()[0]:.1f} at the start")
    print("database | exchanges/s | first, last 10,000 | signal alone p50, p99, worst ms | under load | bytes each")
    with tempfile.TemporaryDirectory(dir=args.folder, prefix="ts-store-") as made:
        folder = Path(made)
        if not (args.cluster or args.database):
            asyncio.run(measure("SQLite", f"sqlite:///{folder / 'log.db'}", args.exchanges))
        if args.cluster:
            with cluster() as url:
                asyncio.run(measure("PostgreSQL", url, args.exchanges))
        elif args.database:
            asyncio.run(measure("PostgreSQL", args.database, args.exchanges))


@contextmanager
def cluster() -> Iterator[str]:
    """The URL of a database on a PostgreSQL server that syncs, for the length of a `with` block."""
    from tests.feedback.postgres import Cluster

    made = Cluster(fsync=True)
    try:
        made.start()
        yield made.new_database()
    finally:
        made.close()


async def measure(name: str, url: str, number: int) -> None:
    """Print one row."""
    chance = random.Random(0)
    made = [exchange(place, chance) for place in range(min(number, DIFFERENT))]
    written = min(number, WRITTEN)
    store = SqlStore.open(url)
    print(name, end=" | ", flush=True)
    starts = range(0, written, STEP)
    rates = [await insert(store, made, start, min(STEP, written - start)) for start in starts]
    mean = written / sum(min(STEP, written - start) / rate for start, rate in zip(starts, rates, strict=True))
    print(f"{mean:,.0f}", end=" | ", flush=True)
    if number > written:
        await asyncio.to_thread(copy, url, number // written)
        rates.append(await insert(store, made, written, STEP))
    print(f"{rates[0]:,.0f}, {rates[-1]:,.0f}", end=" | ", flush=True)
    alone = [await signalled(store, chance.randrange(written), n) for n in range(SIGNALS)]
    print(quantiles(alone), end=" | ", flush=True)
    ids = iter(range(SIGNALS, 6 * SIGNALS))
    loaded: list[float] = []

    async def say() -> None:
        for n in ids:
            loaded.append(await signalled(store, chance.randrange(written), n))

    await asyncio.gather(*(say() for _ in range(AT_ONCE)))
    size, there = await store.read(size_bytes), await store.count()
    print(f"{quantiles(loaded)} | {size / there:,.0f}", flush=True)
    await store.aclose()


async def insert(store: SqlStore, made: list[Exchange], start: int, number: int) -> float:
    """Write so many exchanges; how many a second."""
    left = iter(range(start, start + number))

    async def write() -> None:
        for n in left:
            await store.record(replace(made[n % len(made)], id=id_of(n)))

    began = time.perf_counter()
    await asyncio.gather(*(write() for _ in range(AT_ONCE)))
    return number / (time.perf_counter() - began)


def copy(url: str, times: int) -> None:
    """Copy all exchanges with their candidates until there are so many times as many, under other ids."""
    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    with engine.connect() as connection:
        if connection.dialect.name == "sqlite":
            connection.exec_driver_sql("PRAGMA synchronous = OFF")
        for n in range(1, times):
            for table, name in (("exchanges", "id"), ("candidates", "exchange_id")):
                columns = [column["name"] for column in inspect(connection).get_columns(table)]
                made = ", ".join(f"{column} || '-{n}'" if column == name else column for column in columns)
                of_first = f"length({name}) = {len(id_of(0))}"
                connection.execute(text(f"INSERT INTO {table} SELECT {made} FROM {table} WHERE {of_first}"))
            connection.commit()
        if connection.dialect.name == "postgresql":
            connection.execution_options(isolation_level="AUTOCOMMIT").execute(text("ANALYZE"))
    engine.dispose()


async def signalled(store: SqlStore, n: int, serial: int) -> float:
    """Say something of exchange `n`; the seconds until it was on disk."""
    said = Signal(
        id=f"sig-{serial:09}",
        exchange_id=id_of(n),
        created_at=BEGIN,
        choice=0,
        type="accept",
        idempotency_key=f"key-{serial}",
    )
    began = time.perf_counter()
    await store.signal(said)
    return time.perf_counter() - began


def id_of(n: int) -> str:
    """As long as a real one, and in the order of time as a real one."""
    return f"cmpl-01a20b57-164c-7487-85f9-{n:012}"


def quantiles(seconds: list[float]) -> str:
    """p50, p99 and the worst, in ms."""
    ordered = [1000 * each for each in sorted(seconds)]
    return f"{ordered[len(ordered) // 2]:.1f}, {ordered[len(ordered) * 99 // 100]:.1f}, {ordered[-1]:.1f}"


def size_bytes(connection: Connection) -> int:
    """What the whole database takes on disk, indexes among it."""
    if connection.dialect.name == "sqlite":
        pages = connection.execute(text("PRAGMA page_count")).scalar_one()
        return int(pages * connection.execute(text("PRAGMA page_size")).scalar_one())
    return int(connection.execute(text("SELECT pg_database_size(current_database())")).scalar_one())


if __name__ == "__main__":
    main()
