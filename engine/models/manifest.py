"""`manifest.json`: what a model folder says about itself. Strictly parsed; its presence makes the folder complete."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, NonNegativeInt, ValidationError

from engine.errors import InvalidModel
from engine.models.checksums import checksums_of
from engine.models.names import ModelName, check_id, check_parts

MANIFEST_NAME = "manifest.json"
_CT2 = "ct2-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a model folder holds and where it comes from."""

    id: str
    family: str
    size: str
    round: int
    parent: str | None
    """Id of the model this one was trained from."""
    source: str | None
    """Where the weights came from, e.g. a hub repository and its revision."""
    created_at: datetime
    checksums: Mapping[str, str]
    """`b2:` hashes by path relative to the folder."""
    evaluation: Mapping[str, Any] | None
    conversions: tuple[str, ...]
    """Dtypes with a `ct2-<dtype>/` folder."""

    def name(self, dtype: str) -> ModelName:
        """The model's name in the API when it is served in `dtype`."""
        return ModelName(self.family, self.size, dtype, self.round)


class _File(BaseModel):
    """The JSON form, schema version 1."""

    model_config = ConfigDict(extra="forbid")

    schema_version: Literal[1] = 1
    id: str
    family: str
    size: str
    round: Annotated[NonNegativeInt, Field(strict=True)] = 0
    parent: str | None = None
    source: str | None = None
    created_at: AwareDatetime
    checksums: dict[str, Annotated[str, Field(pattern=r"^b2:[0-9a-f]{64}$")]]
    evaluation: dict[str, Any] | None = None
    conversions: list[str] = []


def read_manifest(folder: Path) -> Manifest:
    """Parse a folder's manifest. Raises `InvalidModel` naming the file and the field."""
    path = folder / MANIFEST_NAME
    with faults_named(path):
        file = _File.model_validate_json(path.read_bytes())
        check_id(file.id)
        check_parts(file.family, file.size)
    if escaping := [name for name in file.checksums if Path(name).is_absolute() or ".." in Path(name).parts]:
        raise InvalidModel(f"{path}: checksums: {escaping[0]!r} lies outside the folder")
    fields = {name: getattr(file, name) for name in _File.model_fields if name != "schema_version"}
    return Manifest(**fields | {"conversions": tuple(file.conversions)})


def seal(
    folder: Path,
    *,
    id: str,  # noqa: A002 - the field's own name
    family: str,
    size: str,
    round: int = 0,  # noqa: A002
    parent: str | None = None,
    source: str | None = None,
    evaluation: Mapping[str, Any] | None = None,
) -> Manifest:
    """Hash every file of a finished folder and write its manifest, which makes it complete."""
    check_id(id)
    check_parts(family, size)
    manifest = Manifest(
        id=id,
        family=family,
        size=size,
        round=round,
        parent=parent,
        source=source,
        created_at=datetime.now(UTC).replace(microsecond=0),
        checksums=checksums_of(folder),
        evaluation=evaluation,
        conversions=conversions_in(folder),
    )
    write_manifest(folder, manifest)
    return manifest


def conversions_in(folder: Path) -> tuple[str, ...]:
    """Dtypes of the complete conversions that lie in a folder."""
    return tuple(sorted(path.parent.name.removeprefix(_CT2) for path in folder.glob(f"{_CT2}*/model.bin")))


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Put a manifest in place at once: readers see the old one or the new one."""
    fields = {name: getattr(manifest, name) for name in Manifest.__dataclass_fields__}
    file = _File(**fields | {"conversions": list(manifest.conversions)})
    write_json(folder / MANIFEST_NAME, file.model_dump(mode="json"))


def write_json(path: Path, value: object) -> None:
    """Write JSON durably, then rename it into place."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with temporary.open("w", encoding="utf-8") as file:
        json.dump(value, file, indent=2, ensure_ascii=False)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


@contextmanager
def faults_named(path: Path) -> Iterator[None]:
    """What is wrong with a manifest as `InvalidModel`, with the file and, where it is one field's fault, the field."""
    try:
        yield
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "file"
        raise InvalidModel(f"{path}: {field}: {first['msg']}") from error
    except InvalidModel as error:
        raise InvalidModel(f"{path}: {error}") from error
    except OSError as error:
        raise InvalidModel(f"{path}: {error.strerror}") from error
