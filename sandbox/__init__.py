"""Runs untrusted programs against tests, confined, and says what they did."""

from sandbox.asserts import suite_tests
from sandbox.base import Sandbox
from sandbox.cgroup import why_not as why_no_groups
from sandbox.compare import equal as same_value
from sandbox.errors import (
    InvalidSuite,
    LaunchFailed,
    SandboxBusy,
    SandboxError,
    SandboxUnavailable,
    UnsupportedLanguage,
)
from sandbox.languages import check_language, found_languages, is_python, takes_calls
from sandbox.literals import read_literal, write_literal
from sandbox.local import LocalSandbox
from sandbox.on_ray import RaySandbox, Staff, Surveyed, ray_cluster, survey
from sandbox.outcome import OnTest, Outcome, ProgramClass, Status, TestOutcome, classify
from sandbox.pool import PoolStats
from sandbox.scripted import ScriptedSandbox
from sandbox.suites import as_calls
from sandbox.tiers import TIERS, Tier
from sandbox.types import (
    MAX_SOURCE_BYTES,
    NOBODYS,
    PARSER_ERRORS,
    AssertSuite,
    Call,
    CallSuite,
    Input,
    Limits,
    ObserveSuite,
    Program,
    StdioCase,
    StdioSuite,
    Suite,
    Whose,
    suite_hash,
)

__all__ = [
    "MAX_SOURCE_BYTES",
    "NOBODYS",
    "PARSER_ERRORS",
    "TIERS",
    "AssertSuite",
    "Call",
    "CallSuite",
    "Input",
    "InvalidSuite",
    "LaunchFailed",
    "Limits",
    "LocalSandbox",
    "ObserveSuite",
    "OnTest",
    "Outcome",
    "PoolStats",
    "Program",
    "ProgramClass",
    "RaySandbox",
    "Sandbox",
    "SandboxBusy",
    "SandboxError",
    "SandboxUnavailable",
    "ScriptedSandbox",
    "Staff",
    "Status",
    "StdioCase",
    "StdioSuite",
    "Suite",
    "Surveyed",
    "TestOutcome",
    "Tier",
    "UnsupportedLanguage",
    "Whose",
    "as_calls",
    "check_language",
    "classify",
    "found_languages",
    "is_python",
    "ray_cluster",
    "read_literal",
    "same_value",
    "suite_hash",
    "suite_tests",
    "survey",
    "takes_calls",
    "why_no_groups",
    "write_literal",
]
