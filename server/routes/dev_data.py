"""`POST /v1/dev-data`: where Continue's `data` destination sends what became of its answers.

Its events name none of our ids. They are joined by their prompt's hash, else by the text that was shown. What finds no
answer is counted and done with: an editor has nothing to mend, and nobody waits for the reply.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from starlette.types import Receive, Scope, Send

from feedback import Answer, ForeignExchange, Signal, UnknownChoice, UnknownExchange, redact, the_answer
from server.asgi import headers_of, read_body, send_json
from server.ids import uuid7
from server.keys.caller import Caller, caller_of
from server.service import Service
from server.signals import keep
from server.translate.dev_data import SUGGESTIONS, Told, label_of, told_by, words_of
from server.wire.dev_data import DevDataEvent, events_of

_SOURCE = "continue"
_BY_PROMPT = timedelta(days=1)
_BY_TEXT = timedelta(hours=1)
"""How long ago an answer may have been given. By its text it is looked for in all there is of that time."""
_TELLING = 12
"""Characters, spaces not counted, of a text that is no coincidence."""


class DevData:
    """Joins, stores and counts events. Raises `StoreFailed` (503): the one case in which they may come again."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        service = self._service
        with service.lifecycle.admitted():
            caller = caller_of(scope)
            body = await read_body(receive, headers_of(scope), service.config.server, caller.body_limit)
            results = []
            for event in events_of(body):
                result = await self._take(event, caller)
                service.metrics.dev_data(label_of(event), result)
                results.append({"name": event.name, "result": result})
            await send_json(send, 200, {"object": "list", "data": results})

    async def _take(self, event: DevDataEvent, caller: Caller) -> str:
        """What came of an event: `joined`, `duplicate`, `not_joined`, or `counted` for one that says nothing of any."""
        told = told_by(event)
        if told is None:
            return "counted"
        if self._service.config.feedback.redact:
            told = replace(told, shown=redact(told.shown))  # as the log has it
        answer = await self._answer(told, caller)
        if answer is None:
            return "not_joined"
        now = datetime.now(UTC)
        signals = [
            Signal(
                id=f"sig-{uuid7()}",
                exchange_id=answer.exchange_id,
                created_at=now,
                choice=answer.choice,
                type=kind,
                value=value,
                source=caller.id or _SOURCE,
                idempotency_key=f"{told.key}:{kind}",
                partial=partial,
            )
            for kind, value, partial in words_of(told, answer, keeps_text=caller.keeps_text)
        ]
        try:
            receipts = await keep(self._service, caller, signals, _SOURCE)
        except (UnknownExchange, UnknownChoice, ForeignExchange):
            return "not_joined"  # deleted in between
        if all(receipt.duplicate for receipt in receipts):
            return "duplicate"
        if event.name in SUGGESTIONS:
            self._service.metrics.shown()
        return "joined"

    async def _answer(self, told: Told, caller: Caller) -> Answer | None:
        """The caller's own answer that was shown so."""
        store, now = self._service.store, datetime.now(UTC)
        if told.prompt_hashes:
            found = await store.answers(now - _BY_PROMPT, key_id=caller.id, prompt_hashes=told.prompt_hashes)
            if (answer := the_answer(found, told.prompt_hashes, told.shown)) is not None:
                return answer
        if len("".join(told.shown.split())) < _TELLING:
            return None
        found = await store.answers(now - _BY_TEXT, key_id=caller.id, beginning=told.shown)
        return the_answer(found, told.prompt_hashes, told.shown)
