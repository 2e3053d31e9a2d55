"""`python -m deploy.monitoring [--runbooks URL] [--folder deploy]`: write the dashboard and the rules.

`--runbooks`: where people will find the page of runbooks, for the links to it.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from deploy.monitoring.files import FOLDER, RUNBOOKS, files


def main() -> None:
    """Write the files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runbooks", default=RUNBOOKS)
    parser.add_argument("--folder", type=Path, default=FOLDER)
    args = parser.parse_args()
    for name, text in files(args.runbooks).items():
        path = args.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
