"""Java through javac and java; everything is compiled together, whatever the packages."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

from sandbox.languages.base import ENVIRONMENT, DoesNotFit, Language, Layout, Shim, Step, Toolchain
from sandbox.languages.layout import SHIM_FOLDER, lay_out
from sandbox.types import Limits, Program

_COMMENT = re.compile(r'"(?:\\.|[^"\\\n])*"|//[^\n]*|/\*.*?\*/', re.DOTALL)
_PACKAGE = re.compile(r"^\s*package\s+([\w.]+)\s*;", re.MULTILINE)
_PUBLIC = re.compile(
    r"\bpublic\s+(?:(?:final|abstract|sealed|non-sealed|strictfp)\s+)*(?:class|interface|enum|record)\s+(\w+)"
)
_CLASS = re.compile(r"\b(?:class|interface|enum|record)\s+(\w+)")
_MAIN = re.compile(r"\b(?:public\s+static|static\s+public)\s+(?:final\s+)?void\s+main\s*\(")
_CLASSES = "classes"
_SHIM_CLASS, _SHIM_CLASSES = "touchstone.Calls", f"{SHIM_FOLDER}/classes"
_MIB = 1024 * 1024
# One small run is all there is: the quick compiler, the collector without threads, no file of counters.
_SMALL = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto", "-XX:-UsePerfData")
_COMPILER_HEAP = "-Xmx512m"


def _layout(program: Program) -> Layout:
    source = program.source
    bare = _strip(source)
    package = _package(bare)
    public = _PUBLIC.search(bare)
    name = public.group(1) if public else "Solution"
    path = "/".join((*package.split("."), f"{name}.java")) if package else f"{name}.java"
    return lay_out(program, path, _main_class(program, bare))


def _strip(source: str) -> str:
    """The source without comments and texts, so that no word in them is taken for code."""
    return _COMMENT.sub(lambda match: '""' if match.group().startswith('"') else " ", source)


def _package(bare: str) -> str:
    found = _PACKAGE.search(bare)
    return found.group(1) if found else ""


def _main_class(program: Program, bare: str) -> str:
    """The class whose `main` is run: the one that the entry point names, a given file's, the program's own.

    A given file comes first: a program that brings a `main` of its own must not take the place of the tests.
    """
    given = [_strip(text) for path, text in program.files if path.endswith(".java")]
    found = [name for text in (*given, bare) if (name := _class_with_main(text))]
    for name in found:
        if program.entry_point in (name, name.rpartition(".")[2]):
            return name
    return found[0] if found else ""


def _class_with_main(bare: str) -> str:
    main = _MAIN.search(bare)
    if main is None:
        return ""
    names = [match.group(1) for match in _CLASS.finditer(bare, 0, main.start())]
    public = _PUBLIC.search(bare)
    name = public.group(1) if public else names[-1] if names else ""
    return ".".join(filter(None, (_package(bare), name)))


def _environment(tools: Toolchain, program: str) -> Mapping[str, str]:
    # Without /proc the launcher cannot find the libraries beside it by itself.
    lib = Path(tools.paths[program]).parent.parent / "lib"
    return {**ENVIRONMENT, "LD_LIBRARY_PATH": f"{lib}:{lib / 'server'}:{lib / 'jli'}"}


def _javac(tools: Toolchain, target: str, sources: list[str]) -> Step:
    virtual = [f"-J{flag}" for flag in (*_SMALL, _COMPILER_HEAP)]
    flags = ("-proc:none", "-nowarn", "-encoding", "UTF-8", "-d", target)
    argv = (tools.paths["javac"], *virtual, *flags, *sources)
    return Step(argv, env=_environment(tools, "javac"), collect=(target,))


def _compile(tools: Toolchain, layout: Layout) -> Step:
    return _javac(tools, _CLASSES, [path for path, _ in layout.files if path.endswith(".java")])


def _java(tools: Toolchain, limits: Limits, *rest: str) -> Step:
    heap = (f"-Xmx{max(16, limits.memory_bytes // _MIB)}m", "-Xss16m", "-XX:MaxMetaspaceSize=128m")
    argv = (tools.paths["java"], *_SMALL, *heap, "-Dfile.encoding=UTF-8", "-Djava.io.tmpdir=/tmp", *rest)
    return Step(argv, env=_environment(tools, "java"))


def _run(tools: Toolchain, layout: Layout, limits: Limits) -> Step:
    if not layout.main:
        raise DoesNotFit("no class has a public static void main(String[])")
    return _java(tools, limits, "-cp", f"{_CLASSES}:.", layout.main)


def _run_shim(tools: Toolchain, layout: Layout, limits: Limits) -> Step:
    package = _package(_strip(dict(layout.files)[layout.source]))
    opened = ("--add-opens", "java.base/java.io=ALL-UNNAMED")  # a stream on a descriptor by its number
    classes = f"{_SHIM_CLASSES}:{_CLASSES}:."
    top = ",".join(_top_classes(layout, package))
    return _java(tools, limits, *opened, "-cp", classes, _SHIM_CLASS, top)


def _top_classes(layout: Layout, package: str) -> list[str]:
    """Where a function is looked for: `Solution`, the file's own class, then every class of the program's source."""
    names = _CLASS.findall(_strip(dict(layout.files)[layout.source]))
    own = Path(layout.source).stem
    first = sorted(dict.fromkeys(names), key=lambda name: (name != "Solution", name != own))
    return [f"{package}.{name}" if package else name for name in first]


def _compile_shim(tools: Toolchain) -> Step:
    return _javac(tools, _SHIM_CLASSES, [f"{SHIM_FOLDER}/Calls.java", f"{SHIM_FOLDER}/Wire.java"])


def _shim() -> Shim:
    package = files("sandbox.languages")
    texts = tuple(
        (f"{SHIM_FOLDER}/{name}", (package / name).read_text("utf-8")) for name in ("Calls.java", "Wire.java")
    )
    return Shim(files=texts, compile=_compile_shim, run=_run_shim, exact_integers=True)


def _folders(paths: Mapping[str, str]) -> tuple[str, ...]:
    """The runtime's home, and where its own links lead: Debian keeps its settings and certificates elsewhere."""
    found = set()
    for path in paths.values():
        home = Path(path).parent.parent
        found.add(str(home))
        for inner in (*home.glob("conf/*"), *home.glob("lib/*"), *home.glob("lib/security/*")):
            if inner.is_symlink() and (real := os.path.realpath(inner)) and os.path.exists(real):
                found.add(os.path.dirname(real))
    return tuple(found)


JAVA = Language(
    name="java",
    title="Java",
    tools=(("java", "default-jre-headless"), ("javac", "default-jdk-headless")),
    layout=_layout,
    compile=_compile,
    run=_run,
    shim=_shim,
    folders=_folders,
    address_space=False,
    own_bytes=768 * _MIB,
    start_s=0.5,
    exhausted=("java.lang.OutOfMemoryError",),
    hello='class Hello { public static void main(String[] words) { System.out.println("hello"); } }\n',
)
