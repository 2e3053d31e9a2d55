"""Settings as a table for people: from a pydantic model's own fields and the docstrings under them."""

from __future__ import annotations

import ast
import inspect
import json
import textwrap
from collections.abc import Iterator

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo


def settings_table(model: type[BaseModel]) -> str:
    """A Markdown table of a section: key, default, meaning; keys of inner sections with their path."""
    rows = [f"| `{key}` | {default} | {text} |" for key, default, text in _rows(model, "")]
    return "\n".join(["| key | default | meaning |", "|---|---|---|", *rows])


def _rows(model: type[BaseModel], prefix: str) -> Iterator[tuple[str, str, str]]:
    texts = docstrings(model)
    for name, field in model.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from _rows(inner, f"{prefix}{name}.")
        else:
            yield prefix + (field.alias or name), _default(field), texts.get(name, "").replace("|", "\\|")


def _default(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True, validated_data={})
    if value is None or isinstance(value, SecretStr):
        return ""
    if isinstance(value, tuple):
        value = json.dumps(value)  # as the file has it
    if not isinstance(value, str | int | float):
        return ""  # a table of its own
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def docstrings(model: type) -> dict[str, str]:
    """The text under each field of a class, on one line; of what it inherits from other models, theirs."""
    found: dict[str, str] = {}
    for base in reversed(model.__mro__):
        if base is model or (issubclass(base, BaseModel) and base is not BaseModel):
            found |= _own_docstrings(base)
    return found


def _own_docstrings(model: type) -> dict[str, str]:
    [tree] = ast.parse(textwrap.dedent(inspect.getsource(model))).body
    assert isinstance(tree, ast.ClassDef)  # noqa: S101 - the source of a class
    found = {}
    for field, after in zip(tree.body, tree.body[1:], strict=False):
        match field, after:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                found[name] = " ".join(text.split())
    return found
