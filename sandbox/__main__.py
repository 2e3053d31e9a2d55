"""`python -m sandbox FILE --tests TESTS`: run one program against one file of test code and print the outcome."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from dataclasses import asdict
from pathlib import Path

from sandbox.errors import InvalidSuite, LaunchFailed, SandboxUnavailable
from sandbox.local import LocalSandbox
from sandbox.outcome import Status
from sandbox.types import AssertSuite, Limits, Program

ALL_PASSED, NOT_ALL_PASSED, BAD_INPUT, NO_SANDBOX = 0, 1, 2, 3


def main(argv: list[str] | None = None) -> int:
    """Run the command; returns the exit code: 0 when every test passed, 1 when not, 2 bad input, 3 no sandbox."""
    parser = _parser()
    args = parser.parse_args(argv)
    if not args.probe and (args.file is None or args.tests is None):
        parser.error("give FILE and --tests TESTS, or --probe")
    try:
        return asyncio.run(_probe() if args.probe else _run(args))
    except SandboxUnavailable as error:
        fixes = "".join(f"\n  to fix: {fix}" for fix in error.how_to_fix)
        return _complain(f"the host cannot isolate untrusted code: {error}{fixes}", NO_SANDBOX)
    except LaunchFailed as error:
        return _complain(f"the isolation could not be set up: {error}", NO_SANDBOX)
    except (InvalidSuite, OSError, UnicodeDecodeError) as error:
        return _complain(str(error), BAD_INPUT)


def _parser() -> argparse.ArgumentParser:
    defaults = Limits()
    parser = argparse.ArgumentParser(prog="python -m sandbox", description=__doc__)
    parser.add_argument("file", nargs="?", type=Path, metavar="FILE", help="the untrusted program")
    parser.add_argument("--tests", type=Path, help="test code: asserts, check(candidate), test_* or unittest")
    parser.add_argument("--entry-point", help="the function that check(candidate) is given")
    parser.add_argument("--cpu-s", type=float, default=defaults.cpu_s, help="CPU seconds in all (default %(default)s)")
    parser.add_argument("--wall-s", type=float, default=defaults.wall_s, help="seconds in all (default %(default)s)")
    parser.add_argument("--memory-mib", type=int, default=defaults.memory_bytes >> 20, help="default %(default)s")
    parser.add_argument("--stop-on-failure", action="store_true", help="stop at the first test that does not pass")
    parser.add_argument("--probe", action="store_true", help="only say what isolation the host grants")
    return parser


async def _probe() -> int:
    sandbox = LocalSandbox()
    try:
        tier = await sandbox.probe()
    finally:
        await sandbox.aclose()
    _print({"tier": tier.name, "facts": dict(tier.facts)})
    return ALL_PASSED


async def _run(args: argparse.Namespace) -> int:
    program = Program(completion=args.file.read_text("utf-8"), entry_point=args.entry_point)
    suite = AssertSuite(args.tests.read_text("utf-8"))
    limits = Limits(
        cpu_s=args.cpu_s,
        wall_s=args.wall_s,
        memory_bytes=args.memory_mib << 20,
        stop_on_failure=args.stop_on_failure,
    )
    sandbox = LocalSandbox()
    try:
        outcome = await sandbox.run(program, suite, limits)
    finally:
        await sandbox.aclose()
    _print(asdict(outcome))
    return ALL_PASSED if outcome.status is Status.PASSED else NOT_ALL_PASSED


def _print(value: object) -> None:
    sys.stdout.write(json.dumps(value, indent=2) + "\n")


def _complain(message: str, code: int) -> int:
    sys.stderr.write(f"python -m sandbox: {message}\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
