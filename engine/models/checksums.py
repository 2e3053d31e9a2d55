"""Content hashes of a folder's files: `b2:` and a 256-bit BLAKE2b digest in hex."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Damage:
    """One file that is not what the manifest says."""

    path: str
    problem: Literal["missing", "changed", "not in the manifest"]


def checksum(path: Path) -> str:
    """The tagged hash of one file."""
    digest = hashlib.blake2b(digest_size=32)
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
    return f"b2:{digest.hexdigest()}"


def files_of(folder: Path) -> dict[str, Path]:
    """The files a manifest covers, by POSIX path relative to `folder`; hidden ones (unfinished work) are not."""
    found = {path.relative_to(folder): path for path in sorted(folder.rglob("*")) if path.is_file()}
    return {
        relative.as_posix(): path
        for relative, path in found.items()
        if relative.as_posix() != "manifest.json" and not any(part.startswith(".") for part in relative.parts)
    }


def checksums_of(folder: Path, *, under: str = "") -> dict[str, str]:
    """Hashes of the folder's files, or only of those whose path starts with `under`."""
    return {name: checksum(path) for name, path in files_of(folder).items() if name.startswith(under)}


def find_damage(folder: Path, expected: Mapping[str, str]) -> tuple[Damage, ...]:
    """Compare every file with its expected hash; reads the whole folder."""
    present = files_of(folder)
    damage = [Damage(name, "missing") for name in expected if name not in present]
    damage += [Damage(name, "not in the manifest") for name in present if name not in expected]
    damage += [
        Damage(name, "changed")
        for name, path in present.items()
        if name in expected and checksum(path) != expected[name]
    ]
    return tuple(sorted(damage, key=lambda item: item.path))
