"""Drafts of one prompt and suite brought together: equal texts, then equal programs, become one response.

Whatever order the drafts come in, the same comes out: what is kept of equals, and what is drawn where there are too
many, is decided by the responses themselves. (But where a prompt has more than `MAX_TEXTS` of a class, and one text was
run in one exchange and not in another, which of the two came first may decide whether it is among them.)
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from heapq import heapify, heapreplace
from typing import Any

from reranker import Task, extract, off_loop, program_key
from sandbox import ProgramClass
from trainer.groups.draft import Draft
from trainer.groups.ladder import score_of
from trainer.groups.split import draw
from trainer.groups.types import RESPONSE_FIELDS, Response, Source, Word, values_of

MAX_TEXTS = 256
"""Distinct texts of a class held of one prompt and suite, drawn by hash: a prompt asked a million times must not fill
memory, nor must its one right answer be lost among the others."""
_SOURCES = ("user", "student", "teacher")

Stratum = tuple[Source, ProgramClass | None]
Origin = tuple[str, int]
"""An exchange, and the candidate in it that was first the same program."""


@dataclass(slots=True)
class Kept:
    """One distinct text, or program, with all that is known of it."""

    response: Response
    """The best provenance: written by a user, else shown, else ranked highest. Its class is set at the end."""
    count: int = 1
    classes: set[ProgramClass] = field(default_factory=set)
    fractions: set[float] = field(default_factory=set)
    worth: list[float] = field(default_factory=list)
    """What each who said something of it thought it worth."""
    said: list[Word] = field(default_factory=list)
    origin: Origin | None = None

    @classmethod
    def of(cls, response: Response, origin: Origin | None = None) -> Kept:
        return cls(
            response=response,
            count=response.count,
            classes=set() if response.program_class is None else {response.program_class},
            fractions=set() if response.fraction is None else {response.fraction},
            worth=[] if response.score is None else [response.score],
            said=[] if response.said is None else [response.said],
            origin=origin,
        )

    def join(self, other: Kept) -> None:
        """Make two equals one."""
        ended = self.response.ended or other.response.ended
        self.response = min(self.response, other.response, key=provenance)
        if ended and not self.response.ended:
            self.response = replace(self.response, ended=True)
        self.count += other.count
        self.classes |= other.classes
        self.fractions |= other.fractions
        self.worth += other.worth
        self.said += other.said
        self.origin = self.origin if self.origin == other.origin else None

    @property
    def program_class(self) -> ProgramClass | None:
        """None where it was not run, and where it was one thing one time and another the next."""
        return next(iter(self.classes)) if len(self.classes) == 1 else None

    @property
    def fraction(self) -> float | None:
        return min(self.fractions, default=None)

    @property
    def words(self) -> float | None:
        """The mean of what those who said something thought; summed in order, so that it is the same each time."""
        return math.fsum(self.worth) / len(self.worth) if self.worth else None

    @property
    def word(self) -> Word | None:
        """What was said most often."""
        if not self.said:
            return None
        return min(set(self.said), key=lambda word: (-self.said.count(word), word))

    def score(self, bump: float) -> float | None:
        """See `score_of`; `bump` is the teachers'."""
        response = self.response
        return score_of(
            self.program_class, self.fraction, source=response.source, said=self.word, words=self.words, bump=bump
        )

    def scored(self, score: float | None) -> Response:
        """The response with all that is known of it."""
        known = dict(zip(RESPONSE_FIELDS, values_of(self.response), strict=True))  # `replace` takes three times as long
        known["program_class"], known["fraction"], known["score"] = self.program_class, self.fraction, score
        known["count"], known["said"] = self.count, self.word
        return Response(**known)


def provenance(response: Response) -> tuple[Any, ...]:
    """Sorts responses that are one program: the first is kept. What a user wrote says most, what was shown is what
    users judged, and a teacher who wrote the student's own program taught nothing.
    """
    rank = math.inf if response.rank is None else response.rank
    return (
        _SOURCES.index(response.source),
        not response.shown,
        rank,
        response.exchange_id or "",
        response.model,
        response.text,
        response.mean_logprob or 0.0,
    )


class Gathered:
    """One prompt, task and suite, with the responses of all its drafts."""

    def __init__(self, first: Draft) -> None:
        self.prompt, self.prompt_hash, self.task = first.prompt, first.prompt_hash, first.task
        self.suite = first.suite
        self.kept: dict[str, Kept] = {}
        self.keys: set[str] = set()
        self.exchanges: set[str] = set()
        self.twice = 0
        self._oldest = (first.at, first.exchange_id, first.key_id)
        self._texts: dict[Stratum, list[str]] = {}
        """Those held, until there are too many."""
        self._heaps: dict[Stratum, list[tuple[int, str]]] = {}
        """Those held from then on, the last drawn first."""

    @property
    def key_id(self) -> str | None:
        """Of the oldest exchange."""
        return self._oldest[2]

    def add(self, draft: Draft) -> None:
        """One more exchange; the second time it comes it is only counted (two files may hold it)."""
        if draft.exchange_id in self.exchanges:
            self.twice += 1
            return
        self.exchanges.add(draft.exchange_id)
        if draft.key_id is not None:
            self.keys.add(draft.key_id)
        self._oldest = min(self._oldest, (draft.at, draft.exchange_id, draft.key_id), key=lambda each: each[:2])
        if self.suite is not None and draft.suite is not None and draft.suite["visible"]:
            self.suite = draft.suite  # whoever wrote the prompt once knew these tests
        for response, original in zip(draft.responses, draft.originals, strict=True):
            self.put(Kept.of(response, None if original is None else (draft.exchange_id, original)))

    def put(self, new: Kept) -> None:
        """One more response; equal texts become one."""
        text, stratum = new.response.text, (new.response.source, new.program_class)
        if text in self.kept:
            self.kept[text].join(new)
            return
        texts = self._texts.setdefault(stratum, [])
        if len(texts) < MAX_TEXTS:
            texts.append(text)
        else:
            heap = self._heaps.get(stratum)
            if heap is None:
                heap = self._heaps[stratum] = [(-draw(each), each) for each in texts]
                heapify(heap)
            mine = (-draw(text), text)
            if mine < heap[0]:
                return
            del self.kept[heapreplace(heap, mine)[1]]
        self.kept[text] = new

    @property
    def looked_for_equals(self) -> bool:
        """Whether the log already says which of the responses are one program: all come from one exchange."""
        origins = {kept.origin[0] if kept.origin else None for kept in self.kept.values()}
        return len(origins) == 1 and None not in origins


async def distinct(gathered: Gathered, task: Task) -> list[Kept]:
    """The gathered responses with equal programs as one, by abstract syntax tree."""
    if gathered.looked_for_equals:
        return joined((kept.origin, kept) for kept in gathered.kept.values())
    return await distinct_of(gathered.kept.values(), task)


async def distinct_of(kept: Iterable[Kept], task: Task) -> list[Kept]:
    """The same of responses that nobody has compared."""
    keyed = []
    for each in kept:
        text = each.response.text
        size = len(task.prefix) + len(text) + len(task.suffix)
        keyed.append((await off_loop(_program_key, task, text, size=size), each))
    return joined(keyed)


def joined(keyed: Iterable[tuple[Any, Kept]]) -> list[Kept]:
    """One `Kept` for each key, in the order of their provenance."""
    found: dict[Any, Kept] = {}
    for key, kept in keyed:
        if key in found:
            found[key].join(kept)
        else:
            found[key] = kept
    return sorted(found.values(), key=lambda kept: provenance(kept.response))


def drawn(kept: Sequence[Kept], most: int) -> list[Kept]:
    """At most so many of each source and class, drawn by hash, in their order."""
    if len(kept) <= most:
        return list(kept)
    room: Counter[Any] = Counter()
    chosen = set()
    for place, each in sorted(enumerate(kept), key=lambda pair: draw(pair[1].response.text)):
        bucket = (each.response.source, each.program_class)
        if room[bucket] < most:
            room[bucket] += 1
            chosen.add(place)
    return [each for place, each in enumerate(kept) if place in chosen]


def _program_key(task: Task, text: str) -> bytes:
    # What stands in a program as it was sampled needs no looking for: it was cut when it was tested.
    source = extract(task, text).program.source if task.shape == "chat" else task.prefix + text + task.suffix
    return program_key(source, task.language)
