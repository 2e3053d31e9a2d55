"""`python -m sandbox run | probe`: the sandbox as a tool. Exit codes: 0 good, 1 not passed, 2 bad input, 3 no sandbox.

`touchstone run` and `touchstone sandbox` are the same commands.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

from sandbox.command import BadInput, probe, run
from sandbox.errors import InvalidSuite, SandboxError, SandboxUnavailable, UnsupportedLanguage
from sandbox.pages import Page
from sandbox.tiers import TIERS
from sandbox.types import Limits

BAD_INPUT, NO_SANDBOX, INTERRUPTED = 2, 3, 130


def main(argv: Sequence[str] | None = None, prog: str = "python -m sandbox") -> int:
    """Run a command; returns the exit code. `prog` is how the command was called."""
    args = _parser(prog).parse_args(argv)
    prog = f"{prog} {args.command}"
    page = Page(sys.stdout, as_json=args.json)
    try:
        return asyncio.run(run(args, page) if args.command == "run" else probe(args, page))
    except (BadInput, InvalidSuite, OSError, UnicodeDecodeError) as error:
        return _complain(prog, str(error), BAD_INPUT)
    except UnsupportedLanguage as error:
        page.refusal(error.word, error.reason, error.how_to_fix)
        return _complain(prog, str(error), NO_SANDBOX)
    except SandboxUnavailable as error:
        page.refusal(error.word, str(error), error.how_to_fix)
        fixes = "".join(f"\n  to fix: {fix}" for fix in error.how_to_fix)
        return _complain(prog, f"the host cannot isolate untrusted code: {error}{fixes}", NO_SANDBOX)
    except SandboxError as error:
        page.refusal(error.word, str(error))
        return _complain(prog, f"the isolation could not be set up: {error}", NO_SANDBOX)
    except KeyboardInterrupt:
        return INTERRUPTED


def _parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=prog, description="Runs one untrusted program against tests, confined.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="run | probe")
    running = commands.add_parser(
        "run",
        help="run a program against tests",
        description="Run FILE against tests and say what each came to. Exit code 0 only when every test passed; "
        "1 not, 2 bad input, 3 no sandbox.",
    )
    _add_tests(running)
    _add_limits(running)
    probing = commands.add_parser("probe", help="say what isolation this host grants, and why not more")
    for command in (running, probing):
        command.add_argument("--tier", action="append", choices=TIERS, help="accept this tier only; may be repeated")
        command.add_argument("--python", metavar="PATH", help="the candidates' interpreter, with its packages")
        command.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


def _add_tests(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, metavar="FILE", help="the untrusted program")
    parser.add_argument(
        "--tests", type=Path, metavar="FILE", help="test code: asserts, check(candidate), test_* functions or unittest"
    )
    parser.add_argument(
        "--expect", type=Path, metavar="FILE", action="append", default=[], help="instead of --tests: what is printed"
    )
    parser.add_argument(
        "--stdin", type=Path, metavar="FILE", action="append", default=[], help="its input; one for each --expect"
    )
    parser.add_argument("--entry-point", metavar="NAME", help="the function that check(candidate) is given")
    parser.add_argument("--language", metavar="NAME", help="default: by the file's ending")
    parser.add_argument(
        "--file", type=Path, metavar="FILE", action="append", default=[], dest="files", help="a further file of it"
    )
    parser.add_argument(
        "--in-process", action="store_true", help="run the tests inside the program's process: weak, it can forge them"
    )


def _add_limits(parser: argparse.ArgumentParser) -> None:
    defaults = Limits()
    parser.add_argument("--cpu-s", type=float, default=defaults.cpu_s, help="CPU seconds in all (default %(default)s)")
    parser.add_argument("--wall-s", type=float, default=defaults.wall_s, help="seconds in all (default %(default)s)")
    parser.add_argument(
        "--test-wall-s", type=float, default=defaults.test_wall_s, help="seconds a test (default %(default)s)"
    )
    parser.add_argument("--memory-mib", type=int, default=defaults.memory_bytes >> 20, help="default %(default)s")
    parser.add_argument("--stop-on-failure", action="store_true", help="stop at the first test that does not pass")


def _complain(prog: str, message: str, code: int) -> int:
    sys.stderr.write(f"{prog}: {message}\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
