"""`python -m server.docs`: write `docs/settings.md` from the configuration's own fields and their docstrings.

A test compares the page with what this would write, so it cannot go stale.
"""

from __future__ import annotations

import ast
import inspect
import json
import textwrap
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from server.config import Config

PAGE = Path(__file__).resolve().parents[1] / "docs" / "settings.md"
_HEAD = """# Settings

Defaults < `touchstone.toml` (`--config`, or `./touchstone.toml` if it is there) < environment < flags. Unknown keys are
errors. In the environment `server.port` is `TOUCHSTONE_SERVER__PORT`. Written by `make docs`; do not edit.
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
    model = field.annotation
    assert isinstance(model, type)  # noqa: S101 - every section is a model
    assert issubclass(model, BaseModel)  # noqa: S101
    rows = [f"| `{key}` | {default} | {text} |" for key, default, text in _rows(model, "")]
    return "\n".join([f"\n## [{name}]\n", "| key | default | meaning |", "|---|---|---|", *rows])


def _rows(model: type[BaseModel], prefix: str) -> Iterator[tuple[str, str, str]]:
    texts = docstrings(model)
    for name, field in model.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from _rows(inner, f"{prefix}{name}.")
        else:
            yield prefix + name, _default(field), texts.get(name, "").replace("|", "\\|")


def _default(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True, validated_data={})
    if value is None or isinstance(value, SecretStr):
        return ""
    if isinstance(value, tuple):
        value = json.dumps(value)  # as the file has it
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def docstrings(model: type) -> dict[str, str]:
    """The text under each field of a class, on one line."""
    [tree] = ast.parse(textwrap.dedent(inspect.getsource(model))).body
    assert isinstance(tree, ast.ClassDef)  # noqa: S101 - the source of a class
    found = {}
    for field, after in zip(tree.body, tree.body[1:], strict=False):
        match field, after:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                found[name] = " ".join(text.split())
    return found


def main() -> None:
    """Write the page."""
    PAGE.write_text(page() + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
