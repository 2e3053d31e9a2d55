"""The models that are loaded, and which of them answers a request. Loads and frees nothing; event loop only."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Literal

from engine import Challenger
from server.errors import Unavailable
from server.served import Served
from server.translate.names import base_of, without_round

Role = Literal["champion", "challenger", "loaded", "replaced"]


class Roster:
    """The champion, its challenger, what an administrator loaded, and what was replaced and is still in use."""

    def __init__(self, *, retry_after_s: float) -> None:
        self.champion: Served | None = None
        self.challenger: Served | None = None
        self.contest: Challenger | None = None
        """What the challenger is loaded for; None without one."""
        self.loaded: dict[str, Served] = {}
        """Models asked for by an administrator, by id."""
        self.replaced: set[Served] = set()
        self.asleep = False
        """Whether the models have given their GPU away for a while: nothing answers then."""
        self._retry_after_s = retry_after_s
        self._vacant: tuple[str, str] = ("the model is still loading", "loading")
        self._names: frozenset[str] = frozenset()

    def __iter__(self) -> Iterator[tuple[Role, Served]]:
        """Every model in memory with its role, the champion first."""
        if self.champion is not None:
            yield "champion", self.champion
        if self.challenger is not None:
            yield "challenger", self.challenger
        for served in self.loaded.values():
            yield "loaded", served
        for served in self.replaced:
            yield "replaced", served

    def role_of(self, served: Served) -> Role:
        """What a model is now."""
        return next((role for role, other in self if other is served), "replaced")

    @property
    def current(self) -> Served:
        """The champion. Raises `Unavailable` (503), saying why, while there is none."""
        self._check_awake()
        if self.champion is None:
            raise self.unavailable()
        return self.champion

    @property
    def switching(self) -> bool:
        """There was a champion, and there will be one."""
        return self.champion is None and self._vacant[1] == "switching"

    def unavailable(self) -> Unavailable:
        """What a request is told that needs the champion while there is none."""
        message, code = self._vacant
        return Unavailable(message, code, self._retry_after_s)

    def find(self, model_id: str) -> Served | None:
        """A model in memory that may answer, by its id."""
        return next((served for role, served in self if role != "replaced" and served.id == model_id), None)

    def pick(self, name: str | None, *, key: str, traffic: bool) -> Served:
        """The model that answers a request for `name` by somebody known by `key`.

        A model's own name gets that model; all else is the champion's, whose share of the `traffic` a canary takes.
        Raises `Unavailable`. That the champion has this name is not checked here.
        """
        self._check_awake()
        base = base_of(name or "")
        for role, served in self:
            if role in ("challenger", "loaded") and served.info.model == base:
                return served
        champion = self.current
        if traffic and self.challenger is not None and self._chosen(key):
            also = self.challenger.defaults.also
            if not base or base in also:
                return self.challenger
        return champion

    def enthrone(self, served: Served, names: frozenset[str] = frozenset()) -> Served | None:
        """Make it the champion for every request from now on; the one before, to be freed once it is unused.

        `names` are those of earlier champions: they stay names of the champion, whichever it is.
        """
        before = self.champion
        if served is self.challenger:
            self.challenger, self.contest = None, None
        if served.id is not None:
            self.loaded.pop(served.id, None)
        self.champion = served
        if before is not None and before is not served:
            names |= {before.info.model}
            self.replaced.add(before)
        self._names |= names | {without_round(name) for name in names}
        served.also_called(self._names - {served.info.model})
        if self.challenger is not None:
            self.challenger.also_called(self._champions_names())
        return before if before is not served else None

    def vacate(self, why: str) -> Served | None:
        """Have no champion until `enthrone`: newcomers are told to come again. The one that was."""
        before, self.champion = self.champion, None
        self._vacant = (why, "switching")
        if before is not None:
            self._names |= {before.info.model, without_round(before.info.model)}
            self.replaced.add(before)
        return before

    def challenge(self, served: Served | None, contest: Challenger | None) -> Served | None:
        """Begin a contest, or end it with None; the challenger before, to be freed once it is unused."""
        before = self.challenger
        self.challenger, self.contest = served, contest
        if served is not None:
            if served.id is not None:
                self.loaded.pop(served.id, None)
            served.also_called(self._champions_names())
        if before is None or before is served:
            return None
        self.replaced.add(before)
        return before

    def _check_awake(self) -> None:
        if self.asleep:
            raise Unavailable("the model sleeps; come again", "asleep", self._retry_after_s)

    def _champions_names(self) -> frozenset[str]:
        """The names by which a canary may be asked: all of the champion's."""
        own = self.champion.info.model if self.champion is not None else ""
        return self._names | {own, without_round(own)} - {""}

    def _chosen(self, key: str) -> bool:
        """Whether the canary answers this key: always, or never, in one contest."""
        contest = self.contest
        if contest is None or contest.mode != "canary":
            return False
        return share_of(contest.id, key) < contest.share


def share_of(contest: str, key: str) -> float:
    """A number from 0 to below 1 for a key, evenly spread and the same whenever asked."""
    digest = hashlib.blake2b(f"{contest}\0{key}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64
