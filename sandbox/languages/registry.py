"""The languages by name. Python is not among them: its programs are forked, not executed."""

from __future__ import annotations

from collections.abc import Callable

from sandbox.errors import UnsupportedLanguage
from sandbox.languages.base import Language

PYTHON = ("python", "py", "python3")


def _cpp() -> Language:
    from sandbox.languages.cpp import CPP

    return CPP


def _java() -> Language:
    from sandbox.languages.java import JAVA

    return JAVA


def _javascript() -> Language:
    from sandbox.languages.javascript import JAVASCRIPT

    return JAVASCRIPT


def _verilog() -> Language:
    from sandbox.languages.verilog import VERILOG

    return VERILOG


LANGUAGES: dict[str, Callable[[], Language]] = {
    "cpp": _cpp,
    "java": _java,
    "javascript": _javascript,
    "verilog": _verilog,
}
"""What makes each language's record, by the language's own name."""


def is_python(name: str) -> bool:
    """Whether programs of that language are Python's."""
    return name.lower() in PYTHON


def find_language(name: str) -> Language:
    """The language of a name or alias, in any case. Raises `UnsupportedLanguage`, which lists the known ones."""
    asked = name.lower()
    if asked in LANGUAGES:
        return LANGUAGES[asked]()
    for create in LANGUAGES.values():
        language = create()
        if asked in language.aliases:
            return language
    known = ", ".join(("python", *LANGUAGES))
    raise UnsupportedLanguage(name, f"unknown language {name!r}; known: {known}")


def takes_calls(name: str) -> bool:
    """Whether functions of a program in that language can be called from outside. Raises `UnsupportedLanguage`."""
    return is_python(name) or find_language(name).shim is not None


def check_language(name: str) -> None:
    """Raise `UnsupportedLanguage` where programs of that language cannot be run here: unknown, or a tool is missing."""
    if not is_python(name):
        find_language(name).find()


def found_languages() -> dict[str, UnsupportedLanguage | None]:
    """Every language that is executed, and what is missing of it; None where nothing is."""
    found: dict[str, UnsupportedLanguage | None] = {}
    for name, create in LANGUAGES.items():
        try:
            create().find()
        except UnsupportedLanguage as error:
            found[name] = error
        else:
            found[name] = None
    return found


def tool_folders() -> tuple[str, ...]:
    """What the tools found on this host read outside the system's common folders."""
    folders = set()
    for name, missing in found_languages().items():
        if missing is None:
            folders |= set(LANGUAGES[name]().find().folders)
    return tuple(sorted(folders))
