"""`python -m server.docs`: write the generated pages.

`docs/settings.md` from the configuration's own fields and their docstrings, `docs/metrics.md` from the metrics' own
names (`metrics_page.py`), the table of fields in `docs/api.md` from the wire models (`fields_page.py`). A test compares
each page with what this would write, so none can go stale.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from engine import settings_table
from server import fields_page, metrics_page
from server.config import Config
from server.profiles import REQUESTS_OWN
from server.wire.base import RerankFields

PAGE = Path(__file__).resolve().parents[1] / "docs" / "settings.md"
_HEAD = """# Settings

Defaults < `touchstone.toml` (`--config`, or `./touchstone.toml` if it is there) < environment < flags. Unknown keys
and sections are errors, whichever command reads the file. In the environment `server.port` is
`TOUCHSTONE_SERVER__PORT`. Written by `make docs`; do not edit.
"""


def page() -> str:
    """The whole page."""
    parts = [_HEAD, "| key | default | meaning |\n|---|---|---|\n| `state_dir` | the user's data folder |"]
    parts[1] += " The database, models and caches. |"
    sections = {name: field for name, field in Config.model_fields.items() if name != "state_dir"}
    for name, field in sections.items():
        parts.append(_section(name, field))
    return "\n".join(parts)


def _section(name: str, field: FieldInfo) -> str:
    if name == "profiles":
        return f"\n## [profiles.NAME]\n\n{_profiles()}"
    model = field.annotation
    assert isinstance(model, type)  # noqa: S101 - every section is a model
    assert issubclass(model, BaseModel)  # noqa: S101
    return f"\n## [{name}]\n\n{settings_table(model)}"


def _profiles() -> str:
    """What a request may say in `rerank`, but for what is a request's own."""
    lines = settings_table(RerankFields).splitlines()
    own = tuple(f"| `{each}" for each in REQUESTS_OWN)
    return "\n".join(line for line in lines if not line.startswith(own))


def main() -> None:
    """Write the pages."""
    PAGE.write_text(page() + "\n", encoding="utf-8")
    fields_page.PAGE.write_text(fields_page.page(fields_page.PAGE.read_text("utf-8")), encoding="utf-8")
    metrics_page.PAGE.write_text(metrics_page.page() + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
