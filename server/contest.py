"""Ending a challenger's contest: the rule of `feedback.contest`, applied to the log from time to time.

Several servers on one store may all do so: the pointer moves once, and who comes second finds it moved.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import asdict

from engine import Challenger, ChampionMoved, EngineError
from feedback import ContestLog, FeedbackError, Verdict, canary_differences, judge_contest, shadow_differences
from server.config import Config
from server.metrics import Metrics
from server.roster import Roster
from server.switching import Switching

_log = logging.getLogger(__name__)


class Contest:
    """Looks at the contest that the roster has, if there is one."""

    def __init__(self, config: Config, roster: Roster, log: ContestLog, switching: Switching, metrics: Metrics) -> None:
        self._config = config.server
        self._roster = roster
        self._log = log
        self._switching = switching
        self._metrics = metrics
        self.verdict: Verdict | None = None
        """What it came to when it was last looked at."""

    async def watch(self) -> None:
        """Look from time to time, until cancelled. Never raises."""
        while True:
            await asyncio.sleep(self._config.challenger_check_s)
            try:
                await self.look()
            except (EngineError, FeedbackError) as error:
                _log.error("the contest could not be looked at: %s", error)
            except Exception as error:  # noqa: BLE001 - the watch must outlive whatever one look meets
                _log.error("looking at the contest failed", exc_info=error)

    async def look(self) -> Verdict | None:
        """Judge the contest by what the log holds of it now, and act on it. None where there is none."""
        contest, challenger, champion = self._roster.contest, self._roster.challenger, self._roster.champion
        if contest is None or challenger is None or champion is None:
            self.verdict = None
            self._metrics.contest("", None)
            return None
        seen = await self._log.outcomes(contest.since)
        pairs_of = shadow_differences if contest.mode == "shadow" else canary_differences
        differences = pairs_of(seen, champion={champion.info.model}, challenger={challenger.info.model})
        verdict = judge_contest(differences, alpha=self._config.challenger_alpha, most=self._config.challenger_pairs)
        self.verdict = verdict
        self._metrics.contest(challenger.info.model, verdict)
        if verdict.decision != "go on":
            await self._end(contest, challenger.round, verdict)
        return verdict

    async def _end(self, contest: Challenger, round_: int, verdict: Verdict) -> None:
        store = self._switching.store
        try:
            if verdict.decision == "promote":
                await asyncio.to_thread(store.set_champion, contest.champion, contest.id)
            else:
                evaluation = {"contest": {"mode": contest.mode} | asdict(verdict)}
                await asyncio.to_thread(
                    store.refuse, contest.id, round=round_, reason=verdict.reason, evaluation=evaluation
                )
        except ChampionMoved as error:
            _log.warning("the contest of %s ended without a decision: %s", contest.id, error)
        else:
            _log.warning("the contest of %s is decided: %s (%s)", contest.id, verdict.decision, verdict.reason)
        await self._switching.look()
