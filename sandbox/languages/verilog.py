"""Verilog and SystemVerilog through Icarus: a design and a bench that prints a trace of what the design does.

Bench and design share one simulator, so a bench must not print a verdict: the trace is what is compared, outside.
"""

from __future__ import annotations

import re

from sandbox.languages.base import Language, Layout, Step, Toolchain
from sandbox.languages.layout import lay_out
from sandbox.types import Limits, Program

_SOURCE, _PROGRAM = "solution.sv", "program.vvp"
_ENDINGS = (".v", ".sv")
_MODULE = re.compile(r"^[ \t]*module[ \t]+(\w+)", re.MULTILINE)
_HELLO = 'module hello; initial begin $display("hello"); $finish; end endmodule\n'


def _layout(program: Program) -> Layout:
    """The entry point may name the bench's module; without, whatever module no other one holds is at the top."""
    modules = {name for _, text in program.files for name in _MODULE.findall(text)}
    named = program.entry_point or ""
    return lay_out(program, _SOURCE, named if named in modules else "")


def _compile(tools: Toolchain, layout: Layout) -> Step:
    sources = [path for path, _ in layout.files if path.endswith(_ENDINGS)]
    top = ("-s", layout.main) if layout.main else ()
    return Step((tools.paths["iverilog"], "-g2012", "-I.", *top, "-o", _PROGRAM, *sources), collect=(_PROGRAM,))


def _run(tools: Toolchain, layout: Layout, limits: Limits) -> Step:
    # -n: $stop ends the simulation, where it would ask a person what to do.
    return Step((tools.paths["vvp"], "-n", _PROGRAM))


VERILOG = Language(
    name="verilog",
    title="Verilog",
    aliases=("systemverilog", "sv", "v"),
    tools=(("iverilog", "iverilog"), ("vvp", "iverilog")),
    layout=_layout,
    compile=_compile,
    run=_run,
    hello=_HELLO,
)
