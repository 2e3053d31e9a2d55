"""How the files of a program are put together, whatever its language."""

from __future__ import annotations

from sandbox.errors import InvalidSuite
from sandbox.inside.execute import stays_inside
from sandbox.languages.base import DoesNotFit, Layout
from sandbox.types import Program

SHIM_FOLDER = "touchstone"
"""Where a shim's files are; programs keep out of it."""


def lay_out(program: Program, source: str, main: str) -> Layout:
    """The program's own source under that path beside its further files.

    Raises `InvalidSuite` for a further file that cannot be, and `DoesNotFit` for a source in the place of one.
    """
    check_files(program)
    if any(path == source for path, _ in program.files):
        raise DoesNotFit(f"the program's own file would be {source}, which is one of the files given with it")
    return Layout(files=(*program.files, (source, program.source)), source=source, main=main)


def check_files(program: Program) -> None:
    """Raise `InvalidSuite` for a further file that cannot be put below the program's folder."""
    for path, _ in program.files:
        if not stays_inside(path):
            raise InvalidSuite(f"the file {path!r} is not a plain relative path")
        if path.split("/")[0] == SHIM_FOLDER:
            raise InvalidSuite(f"the file {path!r}: the folder {SHIM_FOLDER!r} is the sandbox's own")
    paths = [path for path, _ in program.files]
    if len(set(paths)) < len(paths):
        raise InvalidSuite("two files of the program have the same path")


def file_to_run(program: Program, source: str) -> str:
    """The further file that the entry point names, else the program's own source."""
    named = program.entry_point
    return named if named is not None and any(path == named for path, _ in program.files) else source
