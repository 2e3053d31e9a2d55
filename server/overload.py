"""Refusing early what the engine's queue has no place for: a 429 before a body is read costs next to nothing.

The engine refuses by itself where its queue is full; by then a request has been read, understood and encoded. Here it
is asked beforehand, twice: by what the head alone tells, and when the request is understood, by its key, class and
deadline.
"""

from __future__ import annotations

import time
from functools import lru_cache

from engine import Engine, Priority, Queueing
from server.keys.caller import Caller
from server.service import Service
from server.translate.ask import Ask
from server.translate.common import class_asked
from server.translate.defaults import Headers


def refuse_by_head(service: Service, caller: Caller, headers: Headers, most_urgent: Priority) -> None:
    """Raise `Overloaded` where whatever is in the body would be refused; `most_urgent` is a route's first class."""
    champion = service.roster.champion
    if champion is None or (queueing := _queueing(champion.engine)) is None:
        return
    queueing.check_room(max(most_urgent, class_asked(headers)), caller.id or "")


def refuse_by_ask(engine: Engine, ask: Ask) -> None:
    """Raise `Overloaded` where this request would be refused, or would still be waiting at its deadline."""
    if (queueing := _queueing(engine)) is not None:
        options = ask.options
        deadline = None if options.deadline_s is None else time.monotonic() + options.deadline_s
        queueing.check_room(options.priority, options.fairness_key, deadline)


def _queueing(engine: Engine) -> Queueing | None:
    return engine if _knows_its_room(type(engine)) else None  # type: ignore[return-value]


@lru_cache
def _knows_its_room(engine: type[Engine]) -> bool:
    """Asked once a class: of a protocol, Python takes as long for it as for the rest of an early refusal."""
    return issubclass(engine, Queueing)
