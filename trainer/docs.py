"""`python -m trainer.docs`: write the settings of a round into `docs/training.md`, below their mark.

A test compares the page with what this would write, so it cannot go stale.
"""

from __future__ import annotations

from pathlib import Path

from engine import settings_table
from trainer.rounds.config import TeacherConfig, TrainerConfig

PAGE = Path(__file__).resolve().parents[1] / "docs" / "training.md"
MARK = "<!-- settings -->\n"


def page(text: str) -> str:
    """The page, with the settings as they are."""
    above, _, _ = text.partition(MARK)
    teachers = f"Each of `[[trainer.teachers]]`:\n\n{settings_table(TeacherConfig)}\n"
    return f"{above}{MARK}\n{settings_table(TrainerConfig)}\n\n{teachers}"


def main() -> None:
    """Write the page."""
    PAGE.write_text(page(PAGE.read_text("utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
