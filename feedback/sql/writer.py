"""One thread writes; whoever comes while it commits shares the next commit.

A commit costs a sync of the disk, whatever is in it, so under load records queue behind the one under way and go out
together. There is no timer: alone, a record is committed at once. A batch that the database refuses is tried again one
by one, so a faulty record fails alone; where the database itself fails, the whole batch does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from threading import Lock, Thread

from sqlalchemy import Engine
from sqlalchemy.exc import OperationalError

from feedback.errors import FeedbackError, StoreFailed
from feedback.sql.driver import Inserting, inserting
from feedback.sql.seam import translate
from feedback.sql.writes import insert_exchanges, insert_signals
from feedback.types import Exchange, Receipt, Signal

MAX_OUTSTANDING = 1024
"""Records taken in and not yet on disk; more wait their turn, unqueued."""
MAX_BATCH = 256

Receipts = tuple[Receipt, ...]
Result = Receipts | FeedbackError


@dataclass(frozen=True, slots=True, eq=False)
class _Job:
    """An exchange, or signals that belong together, and who waits for them."""

    exchange: Exchange | None
    signals: tuple[Signal, ...]
    key_id: str | None
    loop: asyncio.AbstractEventLoop
    done: asyncio.Future[Receipts]


class Writer:
    """Takes records from event loops, commits them in groups on a thread of its own."""

    def __init__(self, engine: Engine) -> None:
        self.commits = 0
        self._engine = engine
        self._room = asyncio.Semaphore(MAX_OUTSTANDING)
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()  # None: nothing comes any more
        self._entry = Lock()
        self._closing = False
        # A daemon: what is acknowledged is on disk, so a process that forgets to close loses nothing by ending.
        self._thread = Thread(target=self._run, name="feedback-writer", daemon=True)
        self._thread.start()

    async def write(
        self, *, exchange: Exchange | None = None, signals: Sequence[Signal] = (), key_id: str | None = None
    ) -> Receipts:
        """Return once the records are on disk. Cancelled meanwhile, they may be stored all the same."""
        async with self._room:
            loop = asyncio.get_running_loop()
            done: asyncio.Future[Receipts] = loop.create_future()
            job = _Job(exchange, tuple(signals), key_id, loop, done)
            with self._entry:
                if self._closing:
                    raise StoreFailed("the store is closed")
                self._jobs.put(job)
            return await done

    def close(self) -> None:
        """Write what was taken in, then end the thread. Blocks."""
        with self._entry:
            self._closing = True
            self._jobs.put(None)
        self._thread.join()

    def _run(self) -> None:
        while batch := self._next_batch():
            _answer(batch, self._commit(batch))

    def _next_batch(self) -> list[_Job]:
        """Wait for work; empty when closed and done."""
        batch: list[_Job] = []
        while len(batch) < MAX_BATCH and not (batch and self._jobs.empty()):
            job = self._jobs.get()
            if job is None:
                self._jobs.put(None)  # to be found again once this batch is written
                break
            batch.append(job)
        return batch

    def _commit(self, batch: list[_Job]) -> list[Result]:
        """One result a job, whatever happens."""
        try:
            return self._transaction(batch)
        except OperationalError as error:  # disk full, locked, connection lost: nothing to be gained one by one
            return [translate(error)] * len(batch)
        except Exception as error:  # noqa: BLE001 - who waits must be answered; an unforeseen error is named in the answer
            if len(batch) == 1:
                return [translate(error)]
            return [result for job in batch for result in self._commit([job])]

    def _transaction(self, batch: list[_Job]) -> list[Result]:
        new = [job.exchange for job in batch if job.exchange is not None]
        if not any(job.signals for job in batch):  # which is most of them
            with inserting(self._engine) as insert:
                insert_exchanges(insert, new)
            results: list[Result] = [()] * len(batch)
        else:
            with self._engine.begin() as connection:
                insert_exchanges(Inserting.of(connection), new)
                results = [*insert_signals(connection, [(job.signals, job.key_id) for job in batch])]
        self.commits += 1
        return results


def _answer(batch: list[_Job], results: list[Result]) -> None:
    """Wake each event loop once, not once a job."""
    by_loop: dict[asyncio.AbstractEventLoop, list[tuple[_Job, Result]]] = {}
    for job, result in zip(batch, results, strict=True):
        by_loop.setdefault(job.loop, []).append((job, result))
    for loop, answers in by_loop.items():
        try:
            loop.call_soon_threadsafe(_settle, answers)
        except RuntimeError:  # the loop was closed: nobody waits any more
            continue


def _settle(answers: list[tuple[_Job, Result]]) -> None:
    for job, result in answers:
        if job.done.done():  # cancelled
            continue
        if isinstance(result, FeedbackError):
            job.done.set_exception(result)
        else:
            job.done.set_result(result)
