"""JavaScript through node."""

from __future__ import annotations

import re
from importlib.resources import files

from sandbox.languages.base import Language, Layout, Shim, Step, Toolchain
from sandbox.languages.layout import SHIM_FOLDER, file_to_run, lay_out
from sandbox.types import Limits, Program

_MODULE = re.compile(r"^(?:import[ \t*{\"']|export[ \t*{])", re.MULTILINE)
_SHIM = f"{SHIM_FOLDER}/calls.js"
_MIB = 1024 * 1024


def _layout(program: Program) -> Layout:
    source = "solution.mjs" if _MODULE.search(program.source) else "solution.js"
    return lay_out(program, source, file_to_run(program, source))


def _check(tools: Toolchain, layout: Layout) -> Step:
    return Step((tools.paths["node"], "--check", layout.source))


def _flags(limits: Limits) -> tuple[str, ...]:
    return (f"--max-old-space-size={max(16, limits.memory_bytes // _MIB)}", "--stack-size=3900", "--no-warnings")


def _run(tools: Toolchain, layout: Layout, limits: Limits) -> Step:
    return Step((tools.paths["node"], *_flags(limits), layout.main))


def _run_shim(tools: Toolchain, layout: Layout, limits: Limits) -> Step:
    return Step((tools.paths["node"], *_flags(limits), _SHIM, layout.source))


def _shim() -> Shim:
    text = (files("sandbox.languages") / "calls.js").read_text("utf-8")
    return Shim(files=((_SHIM, text),), run=_run_shim, text_keys=True)


JAVASCRIPT = Language(
    name="javascript",
    title="JavaScript",
    aliases=("js", "node", "nodejs"),
    tools=(("node", "nodejs"),),
    layout=_layout,
    compile=_check,
    compile_keeps_source=True,
    run=_run,
    shim=_shim,
    address_space=False,
    own_bytes=256 * _MIB,
    start_s=0.2,
    exhausted=("JavaScript heap out of memory", "Array buffer allocation failed"),
    hello='console.log("hello");\n',
)
