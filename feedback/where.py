"""Which log a command means: the one it is given, else the one that a server started here would write."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from engine import SETTINGS_PREFIX, BadSettings, find_state_dir, read_settings


@dataclass(frozen=True, slots=True)
class Where:
    """A log and the state folder beside it."""

    log: str | Path
    """A database's URL, or a file of SQLite."""
    state_dir: Path

    def __str__(self) -> str:
        """The log for a person: without the password of its URL."""
        if isinstance(self.log, Path):
            return str(self.log)
        from sqlalchemy import make_url

        from feedback.sql.seam import translated

        with translated():
            return make_url(self.log).render_as_string(hide_password=True)


def find_log(database: str | None = None, state_dir: Path | None = None, config: Path | None = None) -> Where:
    """The log of `database`, else of `state_dir`, else as `touchstone serve` finds its own: from the environment, the
    configuration file (None: `./touchstone.toml` if it is there), and the user's data folder.

    Raises `engine.BadSettings`.
    """
    file = read_settings(config)
    section = file.get("feedback", {})
    if not isinstance(section, dict):
        raise BadSettings("feedback: must be a table")
    folder = find_state_dir(state_dir, file)
    configured = os.environ.get(f"{SETTINGS_PREFIX}FEEDBACK__DATABASE_URL") or section.get("database_url")
    if database is None and state_dir is None and configured:
        return Where(str(configured), folder)
    return Where(database or folder / "touchstone.db", folder)
