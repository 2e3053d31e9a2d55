"""Records and signals as fast as it can, several at a time, until it is killed: `python -m tests.feedback.writer FILE`.

Prints `exchange ID` and `signal ID of ID` only once the store has acknowledged them.
"""

from __future__ import annotations

import asyncio
import os
import sys
from dataclasses import replace
from pathlib import Path

from feedback import SqlStore
from tests.feedback.records import exchange, signal

WRITERS = 8


async def write(store: SqlStore, writer: int) -> None:
    number = 0
    while True:
        number += 1
        name = f"{os.getpid()}-{writer}-{number}"
        asked = replace(exchange(number), id=name)
        await store.record(asked)
        os.write(1, f"exchange {name}\n".encode())
        await store.signal(replace(signal(asked, idempotency_key=name), id="s" + name))
        os.write(1, f"signal s{name} of {name}\n".encode())


async def main() -> None:
    store = SqlStore.open(Path(sys.argv[1]))
    await asyncio.gather(*(write(store, writer) for writer in range(WRITERS)))


if __name__ == "__main__":
    asyncio.run(main())
