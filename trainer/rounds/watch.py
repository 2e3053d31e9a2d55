"""Rounds by themselves: look every so often, and make one when the log has grown enough and nobody is waiting."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from engine import EngineError
from feedback import FeedbackError, SqlStore, StoreFailed
from reranker.evaluation import EvaluationError
from trainer.errors import BadSetting, NotEnough, RoundRunning, TrainerError
from trainer.rounds.config import Config
from trainer.rounds.folder import Rounds
from trainer.rounds.round import run_round
from trainer.rounds.told import Told

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_LOOK_AGAIN_S = 60.0
"""How soon to look whether a busy server has become idle."""


def seconds_of(text: str) -> float:
    """`90s`, `30m`, `24h`, `7d` in seconds. Raises `BadSetting`."""
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)([smhd])", text.strip())
    if match is None or float(match[1]) <= 0:
        raise BadSetting(f"--every: {text!r} is no time; e.g. 90s, 30m, 24h, 7d")
    return float(match[1]) * _UNITS[match[2]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """When to make a round."""

    every_s: float
    min_groups: int
    """Different prompts that the log must have gained since the last round."""
    idle_s: float
    """Nothing may have been logged for so long; 0: no matter."""

    async def run(self, config: Config, told: Told, *, once: bool = False) -> None:
        """Look, make a round where it is worth one, wait; for ever, or `once`.

        What goes wrong is told of, and tried again at the next look; with `once` it is raised, but for `NotEnough` and
        `RoundRunning`: those are no fault. A round that was cut short is gone on with, whatever the log has gained.
        """
        while True:
            wait_s = self.every_s
            try:
                wait_s = await self._look(config, told)
            except (NotEnough, RoundRunning) as error:
                told.line(str(error))
            except (TrainerError, EngineError, FeedbackError, EvaluationError, OSError) as error:
                if once:
                    raise
                told.line(str(error))
            if once:
                return
            await asyncio.sleep(wait_s)

    async def _look(self, config: Config, told: Told) -> float:
        """Seconds until the next look."""
        reason = await self._why_not(config)
        if reason is None:
            _, result = await run_round(config, told)
            reason = f"{result.ending}: {result.reason}"
        told.line(reason)
        return min(self.every_s, max(_LOOK_AGAIN_S, self.idle_s / 2)) if reason.startswith("busy") else self.every_s

    async def _why_not(self, config: Config) -> str | None:
        """Why there is no round now; None: there is one."""
        rounds = Rounds(config.state_dir / "rounds")
        try:
            store = await asyncio.to_thread(SqlStore.open, config.database_url, create=False)
        except StoreFailed as error:
            return f"no log yet: {error}"
        try:
            now = datetime.now(UTC)
            if self.idle_s and await store.count(since=now - timedelta(seconds=self.idle_s)):
                return f"busy: something was logged in the last {self.idle_s / 60:g} minutes"
            if rounds.unfinished() is not None:
                return None
            last = rounds.last()
            since = None if last is None else last.facts.created_at
            new = await store.count_prompts(since=since)
        finally:
            await store.aclose()
        if new < self.min_groups:
            return f"{new} new prompts in the log, a round is made of {self.min_groups}"
        return None
