"""Runs untrusted programs against tests, confined, and says what they did."""

from sandbox.base import Sandbox
from sandbox.errors import InvalidSuite, LaunchFailed, SandboxError, SandboxUnavailable
from sandbox.literals import read_literal, write_literal
from sandbox.namespace import NamespaceSandbox, Tier
from sandbox.scripted import ScriptedSandbox
from sandbox.types import (
    MAX_SOURCE_BYTES,
    PARSER_ERRORS,
    AssertSuite,
    Call,
    CallSuite,
    Limits,
    OnTest,
    Outcome,
    Program,
    ProgramClass,
    Status,
    Suite,
    TestOutcome,
    classify,
    suite_hash,
)

__all__ = [
    "MAX_SOURCE_BYTES",
    "PARSER_ERRORS",
    "AssertSuite",
    "Call",
    "CallSuite",
    "InvalidSuite",
    "LaunchFailed",
    "Limits",
    "NamespaceSandbox",
    "OnTest",
    "Outcome",
    "Program",
    "ProgramClass",
    "Sandbox",
    "SandboxError",
    "SandboxUnavailable",
    "ScriptedSandbox",
    "Status",
    "Suite",
    "TestOutcome",
    "Tier",
    "classify",
    "read_literal",
    "suite_hash",
    "write_literal",
]
