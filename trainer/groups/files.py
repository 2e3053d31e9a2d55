"""Groups in files: JSON, one group a line, `{"version", "group"}`; compressed where the name ends in `.gz`.

Read are also files of RRHF's kind, `{"query", "responses", "scores"}` a line. A file appears complete or not at all.
"""

from __future__ import annotations

import gzip
import hashlib
import zlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import fields
from pathlib import Path
from typing import IO, Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from feedback import dumps, loads, prompt_hash, replacing
from trainer.errors import BadGroups
from trainer.groups.split import HELD_OUT_SHARE, split_of
from trainer.groups.types import Group, Response

VERSION = 1
HASH_PREFIX = "b2:"
_GROUP = TypeAdapter(Group)
_GROUP_FIELDS = {field.name for field in fields(Group)}
_GROUP_NAMES = [field.name for field in fields(Group) if field.name != "responses"]
_DEFAULTS = [(field.name, field.default) for field in fields(Response)]
_RESPONSE_FIELDS = {field.name for field in fields(Response)}


async def write_groups(groups: AsyncIterator[Group], out: Path) -> str:
    """Write all the groups to `out`, replacing it; their `content_hash`. Holds one at a time.

    Raises `OSError` where the file cannot be written, and what `groups` raises.
    """
    return await write_lines((to_line(group) async for group in groups), out)


async def write_lines(lines: AsyncIterator[str], out: Path) -> str:
    """The same of groups that are lines by now, without their ends."""
    digest = hashlib.blake2b(digest_size=16)
    with replacing(out) as file:
        async for line in lines:
            whole = line + "\n"
            digest.update(whole.encode("ascii"))
            file.write(whole)
    return HASH_PREFIX + digest.hexdigest()


def content_hash(path: Path) -> str:
    """Hash of the lines of a file, compressed or not: equal data has equal hashes. Raises `BadGroups`."""
    digest = hashlib.blake2b(digest_size=16)
    for _, line in _lines(path):
        digest.update(line.encode("utf-8", "surrogatepass"))
    return HASH_PREFIX + digest.hexdigest()


def read_groups(path: Path, *, held_out_share: float = HELD_OUT_SHARE) -> Iterator[Group]:
    """The groups of a file, in order, one held at a time. Raises `BadGroups`, naming file, line and field.

    `held_out_share` splits files of RRHF's kind; others say themselves on which side a group is.
    """
    for number, line in _lines(path):
        if not line.strip():
            continue
        try:
            yield _from_line(line, path, held_out_share)
        except (_Fault, ValueError, RecursionError) as error:
            raise BadGroups(f"{path}, line {number}: {_first(error)}") from error


def to_line(group: Group) -> str:
    """One line, without its end; fields at their defaults are left out, so hashes outlive new fields."""
    data = {name: getattr(group, name) for name in _GROUP_NAMES}
    responses = [
        {name: value for name, default in _DEFAULTS if (value := getattr(response, name)) is not default}
        for response in group.responses
    ]
    return dumps({"version": VERSION, "group": {**data, "responses": responses}})


class _Fault(Exception):
    """What is wrong with a line."""


def _from_line(line: str, path: Path, held_out_share: float) -> Group:
    data = loads(line)
    if not isinstance(data, dict):
        raise _Fault("is not an object")
    if "query" in data:
        return _foreign(data, path, held_out_share)
    if data.get("version") != VERSION:
        raise _Fault(f"version: {data.get('version')!r} is not {VERSION}, which this Touchstone knows")
    _check_names(data, {"version", "group"}, "")
    group = data.get("group")
    if not isinstance(group, dict) or not isinstance(group.get("responses"), list):
        raise _Fault("group: is no object with a list of responses")
    _check_names(group, _GROUP_FIELDS, "group.")
    for place, row in enumerate(group["responses"]):
        if not isinstance(row, dict):
            raise _Fault(f"group.responses.{place}: is not an object")
        _check_names(row, _RESPONSE_FIELDS, f"group.responses.{place}.")
    try:
        return _GROUP.validate_python(group)
    except ValidationError as error:
        raise _Fault("group." + _first(error)) from error


def _check_names(row: dict[str, Any], known: set[str], where: str) -> None:
    if unknown := sorted(set(row) - known):
        raise _Fault(f"{where}{unknown[0]}: is no field of it")


class _Rrhf(BaseModel):
    """A line of RRHF's training files (GanjinZero/RRHF, `train.py`)."""

    model_config = ConfigDict(extra="forbid", strict=True)

    query: str
    responses: list[str]
    scores: list[float] = Field(strict=False)

    @model_validator(mode="after")
    def _one_score_a_response(self) -> _Rrhf:
        if len(self.scores) != len(self.responses):
            raise ValueError(f"{len(self.responses)} responses, but {len(self.scores)} scores")
        return self


def _foreign(data: dict[str, Any], path: Path, held_out_share: float) -> Group:
    """Whose responses they are the format does not say; they are not the student's own samples."""
    found = _Rrhf.model_validate(data)
    prompt = {"kind": "text", "text": found.query}
    name = prompt_hash(prompt)
    responses = [
        Response(
            text=text, ended=True, program_class=None, fraction=None, score=score, source="teacher", model=path.name
        )
        for text, score in zip(found.responses, found.scores, strict=True)
    ]
    return Group(
        prompt=prompt,
        prompt_hash=name,
        split=split_of(name, held_out_share),
        task={"shape": "completion", "prefix": None, "suffix": "", "entry_point": None},
        responses=tuple(sorted(responses, key=lambda response: -(response.score or 0.0))),
    )


def _first(error: BaseException) -> str:
    if not isinstance(error, ValidationError):
        return str(error)
    first = error.errors(include_url=False)[0]
    return f"{'.'.join(map(str, first['loc'])) or 'line'}: {first['msg']}"


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """Numbered lines with their ends. Raises `BadGroups` for what cannot be read."""
    try:
        with _open(path) as file:
            yield from enumerate(file, 1)
    except (OSError, EOFError, UnicodeDecodeError, zlib.error) as error:
        raise BadGroups(f"{path}: cannot be read: {error}") from error


def _open(path: Path) -> IO[str]:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8", newline="\n")
    return path.open(encoding="utf-8", newline="\n")
