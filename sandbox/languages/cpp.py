"""C++ through g++: every source file is compiled and linked into one program."""

from __future__ import annotations

import re

from sandbox.languages.base import Language, Layout, Step, Toolchain
from sandbox.languages.layout import lay_out
from sandbox.types import Limits, Program

_SOURCE, _PROGRAM = "solution.cpp", "program"
_ENDINGS = (".cpp", ".cc", ".cxx", ".c++")
_INCLUDED = re.compile(r'^[ \t]*#[ \t]*include[ \t]*"(?:\./)?([^"\n]+)"', re.MULTILINE)

_HELLO = '#include <iostream>\nint main() { std::cout << "hello\\n"; }\n'


def _layout(program: Program) -> Layout:
    return lay_out(program, _SOURCE, _PROGRAM)


def _compile(tools: Toolchain, layout: Layout) -> Step:
    # A test that includes the solution's text would have it twice if that were compiled by itself as well.
    included = {name for path, text in layout.files if path != layout.source for name in _INCLUDED.findall(text)}
    sources = [path for path, _ in layout.files if path.endswith(_ENDINGS) and path not in included]
    flags = ("-std=gnu++17", "-O2", "-I.", "-fdiagnostics-color=never", "-o", _PROGRAM)
    return Step((tools.paths["g++"], *flags, *sources), collect=(_PROGRAM,))


def _run(tools: Toolchain, layout: Layout, limits: Limits) -> Step:
    return Step((f"./{_PROGRAM}",))


CPP = Language(
    name="cpp",
    title="C++",
    aliases=("c++", "cc", "cxx"),
    tools=(("g++", "g++"),),
    layout=_layout,
    compile=_compile,
    run=_run,
    exhausted=("std::bad_alloc",),
    hello=_HELLO,
)
