"""One request of any server of OpenAI's API, timed from when it was due."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import httpx

from bench.load.traffic import Shot

REFUSALS = (httpx.codes.TOO_MANY_REQUESTS, httpx.codes.SERVICE_UNAVAILABLE)


class End(StrEnum):
    """What became of a request."""

    ANSWERED = "answered"
    CANCELLED = "cancelled"
    """Its sender typed on."""
    REFUSED = "refused"
    """429 or 503: too much at once."""
    FAILED = "failed"
    UNFINISHED = "unfinished"
    """When the load was over and everybody had been waited for."""


@dataclass(frozen=True, slots=True)
class Answer:
    """How one request went. Times are seconds from the moment it was due."""

    kind: str
    due_s: float
    """From the beginning of the load."""
    end: End
    late_s: float
    """How much later than planned it was sent."""
    first_s: float | None = None
    """To the first text; None where nothing was streamed, or nothing came."""
    whole_s: float | None = None
    tokens: int | None = None
    """Sampled, all candidates together, as the server says."""
    why: str = ""
    """Of a refusal or failure."""


async def ask(client: httpx.AsyncClient, shot: Shot, began_s: float) -> Answer:
    """Send at its time and read to the end, or until its sender loses interest. `began_s`: on `time.perf_counter()`."""
    due_s = began_s + shot.at_s
    await asyncio.sleep(max(0.0, due_s - time.perf_counter()))
    late_s = time.perf_counter() - due_s
    reading = _Reading(due_s)
    left_s = None if shot.stop_s is None else began_s + shot.stop_s - time.perf_counter()
    try:
        async with asyncio.timeout(left_s):
            await reading.through(client, shot)
    except TimeoutError:
        return Answer(shot.kind, shot.at_s, End.CANCELLED, late_s, reading.first_s)
    except _Refused as refusal:
        return Answer(shot.kind, shot.at_s, End.REFUSED, late_s, why=str(refusal))
    except (_Failed, httpx.HTTPError) as error:
        return Answer(shot.kind, shot.at_s, End.FAILED, late_s, reading.first_s, why=str(error) or repr(error))
    except asyncio.CancelledError:
        return Answer(shot.kind, shot.at_s, End.UNFINISHED, late_s, reading.first_s)
    whole_s = time.perf_counter() - due_s
    return Answer(shot.kind, shot.at_s, End.ANSWERED, late_s, reading.first_s, whole_s, reading.tokens)


class _Refused(Exception):
    """429 or 503."""


class _Failed(Exception):
    """Any other answer that is none."""


class _Reading:
    """What has come of one reply."""

    def __init__(self, due_s: float) -> None:
        self._due_s = due_s
        self.first_s: float | None = None
        self.tokens: int | None = None

    async def through(self, client: httpx.AsyncClient, shot: Shot) -> None:
        """Read all of it."""
        async with client.stream("POST", shot.path.lstrip("/"), json=dict(shot.body)) as reply:
            if reply.status_code != httpx.codes.OK:
                text = (await reply.aread()).decode("utf-8", "replace")
                error = _Refused if reply.status_code in REFUSALS else _Failed
                raise error(f"{reply.status_code} {_message(text)}")
            if not shot.body.get("stream"):
                self._count(json.loads(await reply.aread()))
                return
            async for line in reply.aiter_lines():
                if line.startswith("data:") and line != "data: [DONE]":
                    self._event(json.loads(line.removeprefix("data:")))

    def _event(self, event: Mapping[str, Any]) -> None:
        if "error" in event:
            raise _Failed(_message(json.dumps(event)))
        if self.first_s is None and any(_text(choice) for choice in event.get("choices", ())):
            self.first_s = time.perf_counter() - self._due_s
        self._count(event)

    def _count(self, event: Mapping[str, Any]) -> None:
        usage = event.get("usage")
        if usage:
            self.tokens = int(usage["completion_tokens"])


def _text(choice: Mapping[str, Any]) -> str | None:
    text: str | None = choice["text"] if "text" in choice else choice.get("delta", {}).get("content")
    return text


def _message(text: str) -> str:
    """What an error says, as OpenAI's are written; else its beginning."""
    try:
        return str(json.loads(text)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return text[:200]
