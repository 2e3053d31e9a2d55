"""The task of a group again, to sample it anew or to run what answers it."""

from __future__ import annotations

from dataclasses import replace

from feedback import suite_from_data, task_from_data
from reranker import Task
from sandbox import StdioSuite
from trainer.groups.types import Group


def task_of(group: Group) -> Task:
    """The group's task, its suite with it; a program that is judged by what it prints is run as a whole.

    Raises `feedback.InvalidExchange` for data that is no prompt or suite.
    """
    task = task_from_data(group.prompt_hash, group.prompt, group.task)
    if group.suite is None:
        return task
    suite = suite_from_data(group.suite)
    return replace(task, suite=suite, whole=isinstance(suite, StdioSuite))
