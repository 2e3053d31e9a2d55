"""A group with fresh answers to its prompt: what a champion or a teacher was asked after the log was read."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from trainer.groups.gather import Kept, distinct_of, drawn, provenance
from trainer.groups.making import without_worse_teachers
from trainer.groups.settings import Settings
from trainer.groups.task import task_of
from trainer.groups.types import Group, Response


async def with_answers(group: Group, answers: Iterable[Response], settings: Settings) -> Group:
    """The group with these answers in it, by the same rules: equals joined, teachers below the student left out, so
    many a class, the best first. The answers have been run by the group's suite.
    """
    texts: dict[str, Kept] = {}
    for response in (*group.responses, *answers):
        kept = Kept.of(response)
        if response.text in texts:
            texts[response.text].join(kept)
        else:
            texts[response.text] = kept
    distinct = await distinct_of(texts.values(), task_of(group))
    stable = [each for each in distinct if len(each.classes) <= 1]
    chosen = drawn(without_worse_teachers(stable), settings.max_per_class)
    scored = [(each.score(settings.teacher_bump), each) for each in chosen]
    known = [(score, each) for score, each in scored if score is not None]
    known.sort(key=lambda pair: (-pair[0], provenance(pair[1].response)))
    return replace(group, responses=tuple(each.scored(score) for score, each in known))


def has_contrast(group: Group) -> bool:
    """Whether there is anything to compare: two responses that are not worth the same."""
    return len({response.score for response in group.responses if response.score is not None}) > 1
