"""What a language is to the sandbox: how its programs are laid out, compiled and run, and by which tools."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from sandbox.errors import UnsupportedLanguage
from sandbox.types import Limits, Program

ENVIRONMENT = {"HOME": "/tmp", "TMPDIR": "/tmp", "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8", "PATH": "/usr/bin:/bin"}  # noqa: S108
_COMMON = ("/usr/", "/lib", "/bin/")
"""Where the sandbox's root has the host's files anyway."""


class DoesNotFit(Exception):
    """The program cannot be laid out as one: its own fault, told as a compile error."""


@dataclass(frozen=True, slots=True)
class Toolchain:
    """The tools of a language, as found on this host."""

    paths: Mapping[str, str]
    """The real path of each program."""
    folders: tuple[str, ...]
    """What the tools read outside the system's common folders; a private root must show it."""
    version: str
    """Changes whenever a tool does: path, size and time of change of each."""


@dataclass(frozen=True, slots=True)
class Layout:
    """A program as files: relative paths and texts, its own source among them, and what is run."""

    files: tuple[tuple[str, str], ...]
    source: str
    """The path of the program's own source."""
    main: str
    """What is run: a path, a class; empty where nothing can be."""


@dataclass(frozen=True, slots=True)
class Step:
    """One process: what is executed, with which environment, and the paths it leaves behind that are kept."""

    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=lambda: dict(ENVIRONMENT))
    collect: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Shim:
    """Answers calls inside a program's process, in its own language."""

    files: tuple[tuple[str, str], ...]
    compile: Callable[[Toolchain], Step] | None = None
    run: Callable[[Toolchain, Layout, Limits], Step]
    exact_integers: bool = False
    """Its integers are as long as need be; without, those over 53 bits travel in hexadecimal."""
    text_keys: bool = False
    """Keys of its dictionaries may come back as text: 1 and "1" are one key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Language:
    """A language that programs are run in by executing its tools. Records only; nothing is run here."""

    name: str
    title: str
    """As it is written in a sentence."""
    aliases: tuple[str, ...] = ()
    tools: tuple[tuple[str, str], ...]
    """Programs looked for, each with the Debian package that holds it."""
    layout: Callable[[Program], Layout]
    """Raises `DoesNotFit`, and `InvalidSuite` for further files that cannot be."""
    compile: Callable[[Toolchain, Layout], Step] | None = None
    compile_keeps_source: bool = False
    """The step only checks: what runs is the source."""
    run: Callable[[Toolchain, Layout, Limits], Step]
    """Raises `DoesNotFit` where nothing in the program can be run."""
    shim: Callable[[], Shim] | None = None
    """The call protocol, where there is one."""
    folders: Callable[[Mapping[str, str]], tuple[str, ...]] = lambda paths: tuple(map(_home, paths.values()))
    """What the tools read, from their paths."""
    address_space: bool = True
    """Whether memory can be bounded by the address space; not where the tool reserves far more than it uses."""
    own_bytes: int = 0
    """Without: what the tool itself maps to write to, on top of the memory that a program may use."""
    start_s: float = 0.0
    """CPU seconds that the language itself takes to start; every process has them on top of its limit."""
    exhausted: tuple[str, ...] = ()
    """What stands in the error output of a program that ran out of memory."""
    hello: str
    """A program that prints `hello`: run once, to see that the tools work in the sandbox."""

    def find(self) -> Toolchain:
        """The toolchain on this host. Raises `UnsupportedLanguage`, naming what is missing and how to get it."""
        paths = {}
        for program, package in self.tools:
            path = shutil.which(program)
            if path is None:
                reason = f"{self.title} needs {program}, which is not installed"
                raise UnsupportedLanguage(self.name, reason, (f"apt-get install {package}",))
            paths[program] = os.path.realpath(path)
        facts = [(path, os.stat(path)) for path in paths.values()]
        version = " ".join(f"{path}:{fact.st_size}:{fact.st_mtime_ns}" for path, fact in facts)
        folders = {folder for folder in self.folders(paths) if not f"{folder}/".startswith(_COMMON)}
        return Toolchain(paths=paths, folders=tuple(sorted(folders)), version=version)


def _home(path: str) -> str:
    """The folder a tool was installed to: the one that holds its `bin`."""
    return str(PurePosixPath(path).parent.parent)
