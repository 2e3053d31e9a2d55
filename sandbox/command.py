"""What `run` and `probe` do with their arguments: read the files, run, print."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from sandbox.errors import UnsupportedLanguage
from sandbox.languages import find_language, is_python
from sandbox.local import LocalSandbox
from sandbox.outcome import Status
from sandbox.pages import Page
from sandbox.tiers import TIERS
from sandbox.types import AssertSuite, Limits, Program, StdioCase, StdioSuite, Suite

ALL_PASSED, NOT_ALL_PASSED = 0, 1
_LANGUAGES = {
    ".js": "javascript",
    ".mjs": "javascript",
    ".java": "java",
    ".cpp": "cpp",
    ".cc": "cpp",
    ".cxx": "cpp",
    ".sv": "verilog",
    ".v": "verilog",
}
"""By the ending of a file's name; anything else is Python."""


class BadInput(Exception):
    """The arguments ask for what cannot be; the message says which."""


async def run(args: argparse.Namespace, page: Page) -> int:
    """Run the program against its tests. Raises `BadInput`, `InvalidSuite`, `OSError` and the sandbox's errors."""
    program, suite = _program(args), _suite(args)
    limits = Limits(
        cpu_s=_positive(args.cpu_s, "--cpu-s"),
        wall_s=_positive(args.wall_s, "--wall-s"),
        test_wall_s=_positive(args.test_wall_s, "--test-wall-s"),
        memory_bytes=int(_positive(args.memory_mib, "--memory-mib")) << 20,
        stop_on_failure=args.stop_on_failure,
    )
    sandbox = _sandbox(args)
    try:
        outcome = await sandbox.run(program, suite, limits)
    finally:
        await sandbox.aclose()
    page.outcome(outcome)
    return ALL_PASSED if outcome.status is Status.PASSED else NOT_ALL_PASSED


async def probe(args: argparse.Namespace, page: Page) -> int:
    """Say what isolation the host grants. Raises `SandboxUnavailable` and `LaunchFailed`."""
    sandbox = _sandbox(args)
    try:
        tier = await sandbox.probe()
    finally:
        await sandbox.aclose()
    page.tier(tier)
    return ALL_PASSED


def _sandbox(args: argparse.Namespace) -> LocalSandbox:
    wanted = args.tier or TIERS
    tiers = [tier for tier in TIERS if tier in wanted]
    return LocalSandbox(concurrency=1, tiers=tiers, python=args.python)


def _program(args: argparse.Namespace) -> Program:
    language = args.language or _LANGUAGES.get(args.file.suffix.lower(), "python")
    if not is_python(language):
        try:
            find_language(language)
        except UnsupportedLanguage as error:
            raise BadInput(f"--language: {error}") from error
        if args.in_process:
            raise BadInput(f"--in-process: tests in the program's own process need Python, not {language}")
        if args.python:
            raise BadInput(f"--python: not for a program in {language}")
    files = tuple((_inner(path, args.file.parent), _text(path)) for path in args.files)
    completion = _text(args.file)
    program = Program(completion=completion, entry_point=args.entry_point, language=language, files=files)
    return replace(program, module=args.file.stem) if args.file.stem.isidentifier() else program


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise BadInput(f"{path}: {error}") from error


def _inner(path: Path, home: Path) -> str:
    """What a further file is called beside the program: as seen from the program's folder, else its bare name."""
    try:
        return path.resolve().relative_to(home.resolve()).as_posix()
    except ValueError:
        return path.name


def _suite(args: argparse.Namespace) -> Suite:
    if (args.tests is None) == (not args.expect):
        raise BadInput("give either --tests or --expect")
    if args.tests is not None:
        if args.stdin:
            raise BadInput("--stdin goes with --expect, not with --tests")
        return AssertSuite(_text(args.tests), in_process=args.in_process)
    if args.in_process:
        raise BadInput("--in-process goes with --tests")
    if args.stdin and len(args.stdin) != len(args.expect):
        raise BadInput(f"{len(args.stdin)} --stdin for {len(args.expect)} --expect: give one for each, or none at all")
    inputs = [_text(path) for path in args.stdin] or [""] * len(args.expect)
    outputs = [_text(path) for path in args.expect]
    return StdioSuite(tuple(StdioCase(stdin, expected) for stdin, expected in zip(inputs, outputs, strict=True)))


def _positive(value: float, name: str) -> float:
    if not value > 0:
        raise BadInput(f"{name}: must be greater than 0")
    return value
