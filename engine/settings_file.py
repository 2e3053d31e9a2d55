"""`touchstone.toml` and the environment beside it: one file, a section a package, read by several commands.

Each command reads its own sections. A section that none of them knows is an error for all: a misspelt one would
otherwise pass unseen.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from platformdirs import user_data_dir

from engine.errors import BadSettings

DEFAULT_PATH = Path("touchstone.toml")
SETTINGS_PREFIX = "TOUCHSTONE_"
"""Of variables: `TOUCHSTONE_<SECTION>__<KEY>`."""
SECTIONS = (
    "state_dir",
    "server",
    "limits",
    "engine",
    "sandbox",
    "reranker",
    "profiles",
    "feedback",
    "log",
    "trainer",
)
"""Everything that may stand at the top of the file; `state_dir` is a key of its own."""


def read_settings(path: Path | None = None) -> dict[str, Any]:
    """The file; `path` None reads `./touchstone.toml` if it is there.

    Raises `BadSettings` where it cannot be read, and for a section that nobody knows, here or in the environment.
    """
    for name in os.environ:
        section, nested, _ = name.removeprefix(SETTINGS_PREFIX).partition("__")
        if name.startswith(SETTINGS_PREFIX) and nested:
            _check(section.lower(), name)
    if path is None and not DEFAULT_PATH.exists():
        return {}
    path = path or DEFAULT_PATH
    try:
        found = tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise BadSettings(f"{path}: {error}") from error
    for name in found:
        _check(name, name)
    return found


def find_state_dir(given: str | Path | None, file: Mapping[str, Any] | None = None) -> Path:
    """The state folder: the one given, else `TOUCHSTONE_STATE_DIR`, else the file's, else the user's data folder.

    `file` None reads `./touchstone.toml`. Raises `BadSettings`.
    """
    named = given or os.environ.get(f"{SETTINGS_PREFIX}STATE_DIR")
    named = named or (read_settings() if file is None else file).get("state_dir")
    return Path(named or user_data_dir("touchstone", appauthor=False))


def _check(section: str, name: str) -> None:
    """`name`: of the section as it was written."""
    if section not in SECTIONS:
        near = get_close_matches(section, SECTIONS, 1)
        hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(SECTIONS)}"
        raise BadSettings(f"{name}: unknown section; {hint}")
