"""Refusing early what the engine's queue has no place for: a 429 before a body is read costs next to nothing.

The engine refuses by itself where its queue is full; by then a request has been read, understood and encoded. Here it
is asked beforehand, twice: by what the head alone tells, and when the request is understood, by its key, class and
deadline.
"""

from __future__ import annotations

import time

from engine import Engine, Priority, Queueing
from server.keys.caller import Caller
from server.service import Service
from server.translate.ask import Ask
from server.translate.common import PRIORITIES
from server.translate.defaults import Headers


def refuse_by_head(service: Service, caller: Caller, headers: Headers, most_urgent: Priority) -> None:
    """Raise `Overloaded` where whatever is in the body would be refused; `most_urgent` is a route's first class."""
    champion = service.roster.champion
    if champion is None or not isinstance(champion.engine, Queueing):
        return
    priority = max(most_urgent, PRIORITIES.get(headers.get("x-priority", ""), most_urgent))
    if headers.get("x-purpose", "traffic") != "traffic":
        priority = Priority.BATCH
    champion.engine.check_room(priority, caller.id or "")


def refuse_by_ask(engine: Engine, ask: Ask) -> None:
    """Raise `Overloaded` where this request would be refused, or would still be waiting at its deadline."""
    if isinstance(engine, Queueing):
        options = ask.options
        deadline = None if options.deadline_s is None else time.monotonic() + options.deadline_s
        engine.check_room(options.priority, options.fairness_key, deadline)
