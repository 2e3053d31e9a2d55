"""`manifest.json` of a verifier folder: strictly parsed, checksums compared before anything is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from engine.classify.base import ClassifierInfo
from engine.errors import InvalidModel
from engine.models.checksums import checksums_of, find_damage
from engine.models.manifest import MANIFEST_NAME, faults_named, write_json
from engine.models.names import check_id

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class _File(BaseModel):
    """The JSON form, schema version 1."""

    model_config = ConfigDict(extra="forbid")

    kind: Literal["verifier"] = "verifier"
    schema_version: Literal[1] = 1
    id: str
    base: str | None = None
    execution: bool
    input_format: Annotated[int, Field(ge=1)]
    temperature: Positive = 1.0
    max_tokens: Annotated[int, Field(ge=8)]
    created_at: AwareDatetime
    source: str | None = None
    metrics: dict[str, Any] = {}
    checksums: dict[str, Annotated[str, Field(pattern=r"^b2:[0-9a-f]{64}$")]]


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifierManifest:
    """What a verifier folder holds and where it comes from."""

    id: str
    base: str | None
    """The checkpoint it was fine-tuned from; None: trained from nothing."""
    execution: bool
    input_format: int
    temperature: float
    """Logits are divided by it (Guo et al. 2017, arXiv:1706.04599, section 4.2)."""
    max_tokens: int
    created_at: datetime
    source: str | None
    metrics: Mapping[str, Any]
    """AUC, ECE and counts on the questions that training did not see."""
    checksums: Mapping[str, str]


def read_verifier(folder: Path) -> VerifierManifest:
    """Parse a folder's manifest and compare every file with its hash.

    Raises `InvalidModel` naming the file, and the field or what is wrong with it.
    """
    path = folder / MANIFEST_NAME
    with faults_named(path):
        file = _File.model_validate_json(path.read_bytes())
        check_id(file.id)
    if damage := find_damage(folder, file.checksums):
        raise InvalidModel(f"{folder / damage[0].path}: {damage[0].problem}; the verifier cannot be used")
    return VerifierManifest(**{name: getattr(file, name) for name in VerifierManifest.__dataclass_fields__})


def seal_verifier(
    folder: Path,
    *,
    id: str,  # noqa: A002 - the field's own name
    execution: bool,
    input_format: int,
    max_tokens: int,
    temperature: float = 1.0,
    base: str | None = None,
    source: str | None = None,
    metrics: Mapping[str, Any] | None = None,
) -> VerifierManifest:
    """Hash every file of a finished folder and write its manifest, which makes it complete. Raises `InvalidModel`."""
    check_id(id)
    file = _File(
        id=id,
        base=base,
        execution=execution,
        input_format=input_format,
        temperature=temperature,
        max_tokens=max_tokens,
        created_at=datetime.now(UTC).replace(microsecond=0),
        source=source,
        metrics=dict(metrics or {}),
        checksums=checksums_of(folder),
    )
    write_json(folder / MANIFEST_NAME, file.model_dump(mode="json"))
    return read_verifier(folder)


def info_of(manifest: VerifierManifest, *, backend: str, dtype: str) -> ClassifierInfo:
    """What a backend says of the verifier that it has loaded."""
    return ClassifierInfo(
        id=manifest.id,
        backend=backend,
        dtype=dtype,
        execution=manifest.execution,
        input_format=manifest.input_format,
        max_tokens=manifest.max_tokens,
    )
