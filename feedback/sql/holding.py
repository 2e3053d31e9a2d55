"""Who may take records out of an outbox: one at a time, whether to copy them to the server or to delete them.

Else a page that is being copied could bring back on the server what was deleted there a moment before.
"""

from __future__ import annotations

import asyncio
import fcntl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from feedback.errors import StoreFailed

PAUSE_S = 0.02
"""Between two attempts: another process is waited for without a thread of ours hanging in the kernel."""


@asynccontextmanager
async def held(outbox: Path) -> AsyncIterator[None]:
    """Hold the outbox at this file, between processes; the lock dies with its holder. Raises `StoreFailed`."""
    try:
        file = outbox.with_name(outbox.name + "-lock").open("w")
    except OSError as error:
        raise StoreFailed(f"cannot lock {outbox}: {error}") from error
    with file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                await asyncio.sleep(PAUSE_S)
            except OSError as error:
                raise StoreFailed(f"cannot lock {outbox}: {error}") from error
        yield
