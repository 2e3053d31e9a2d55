"""Which weights an engine computes with: a name in the API is shared by every checkpoint of a round, this is not."""

from __future__ import annotations

import hashlib
from pathlib import Path

from engine.models import Model
from engine.models.checksums import checksum

_DIGITS = 16


def weights_of(folder: Path, model: Model | None) -> str:
    """Id and a short hash of the weights in `folder`, e.g. `touchstone-3m b2:0123456789abcdef`; empty without weights.

    The hash is the manifest's where it has one, so that nothing is read; else that of the files, which reads them.
    """
    found = [folder / "model.bin"] if (folder / "model.bin").is_file() else _checkpoint(folder)
    if not found:
        return ""
    known = model.manifest.checksums if model else {}
    sums = [known.get(_name(path, model)) or checksum(path) for path in found]
    whole = sums[0] if len(sums) == 1 else f"b2:{hashlib.blake2b(''.join(sums).encode(), digest_size=32).hexdigest()}"
    return f"{model.manifest.id if model else folder.resolve().name} {whole[: len('b2:') + _DIGITS]}"


def _checkpoint(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.safetensors")) or sorted(folder.glob("pytorch_model*.bin"))


def _name(path: Path, model: Model | None) -> str:
    """As the manifest names a file; empty where the file is no part of the model's folder."""
    inside = model is not None and path.is_relative_to(model.folder)
    return path.relative_to(model.folder).as_posix() if model is not None and inside else ""
