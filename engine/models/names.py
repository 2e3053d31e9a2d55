"""Model names: `<family>:<size>-<dtype>.r<round>`, e.g. `qwen2.5-coder:7b-int8.r3`.

The family comes first and whole, because editor plug-ins choose their fill-in-the-middle layout from it. The name is
what the API shows; the id is the name of a folder and has no dtype, because one folder holds many conversions.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from engine.errors import InvalidModel

_NAME = re.compile(
    r"(?P<family>[a-z0-9][a-z0-9._-]*):(?P<size>[a-z0-9][a-z0-9.]*)-(?P<dtype>[a-z0-9_]+)\.r(?P<round>0|[1-9][0-9]*)"
)
_FAMILY = re.compile(r"[a-z0-9][a-z0-9._-]*")
_SIZE = re.compile(r"[a-z0-9][a-z0-9.]*")
_ID = re.compile(r"[a-z0-9][a-z0-9._-]*")


@dataclass(frozen=True, slots=True)
class ModelName:
    """The parts of a model's name in the API; `str()` renders it."""

    family: str
    size: str
    dtype: str
    round: int

    def __str__(self) -> str:
        return f"{self.family}:{self.size}-{self.dtype}.r{self.round}"

    @classmethod
    def parse(cls, text: str) -> ModelName:
        """Read a full name, without a rerank profile. Raises `InvalidModel` with the form expected."""
        match = _NAME.fullmatch(text)
        if match is None:
            raise InvalidModel(f"{text!r} is not a model name; expected <family>:<size>-<dtype>.r<round>")
        return cls(match["family"], match["size"], match["dtype"], int(match["round"]))


def check_parts(family: str, size: str) -> None:
    """Refuse what would not parse again once rendered. Raises `InvalidModel` naming the part."""
    if not _FAMILY.fullmatch(family):
        raise InvalidModel(f"family: {family!r} must be lower-case letters, digits, '.', '_' and '-'")
    if not _SIZE.fullmatch(size):
        raise InvalidModel(f"size: {size!r} must be lower-case letters, digits and '.', e.g. 7b or 164m")


def check_id(model_id: str) -> None:
    """Refuse ids that are no plain folder name. Raises `InvalidModel`."""
    if not _ID.fullmatch(model_id) or model_id == "refused":
        raise InvalidModel(f"id: {model_id!r} must be lower-case letters, digits, '.', '_' and '-'")


def default_id(family: str, size: str, round_number: int) -> str:
    """The folder's name where nobody chose one."""
    return f"{family}-{size}.r{round_number}"


def render_size(parameters: int) -> str:
    """The size word of a parameter count, e.g. 7_615_616_512 -> `7.6b`, 3_560_000 -> `3.6m`."""
    for unit, letter in ((1_000_000_000, "b"), (1_000_000, "m"), (1_000, "k")):
        if parameters >= unit:
            return f"{parameters / unit:.3g}" + letter if parameters < 10 * unit else f"{parameters / unit:.0f}{letter}"
    return str(max(parameters, 0))
