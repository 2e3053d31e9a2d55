"""The task of a group again, to sample it anew or to run what answers it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from feedback import suite_from_data, task_from_data
from reranker import Task
from sandbox import StdioSuite
from trainer.groups.types import Group


def task_of(group: Group) -> Task:
    """The group's task, its suite with it. Raises `feedback.InvalidExchange` for data that is no prompt or suite."""
    return task_from(group.prompt_hash, group.prompt, group.task, group.suite)


def task_from(name: str, prompt: dict[str, Any], parts: dict[str, Any], suite: dict[str, Any] | None) -> Task:
    """The same from a group's parts. Programs that are judged by what they print are run as a whole."""
    task = task_from_data(name, prompt, parts)
    if suite is None:
        return task
    judge = suite_from_data(suite)
    return replace(task, suite=judge, whole=isinstance(judge, StdioSuite))
