"""Languages other than Python, behind the same interface: their tools are executed in confined processes."""

from sandbox.languages.artifacts import Artifacts
from sandbox.languages.jobs import Execute, Executed, ExecuteJob, OnFrame
from sandbox.languages.layout import check_files
from sandbox.languages.registry import (
    check_language,
    find_language,
    found_languages,
    is_python,
    takes_calls,
    tool_folders,
)
from sandbox.languages.runner import ExecRunner

__all__ = [
    "Artifacts",
    "ExecRunner",
    "Execute",
    "ExecuteJob",
    "Executed",
    "OnFrame",
    "check_files",
    "check_language",
    "find_language",
    "found_languages",
    "is_python",
    "takes_calls",
    "tool_folders",
]
