"""Bring a model into the store: from a hub repository or from a folder on this machine, converted unless told not to.

What cannot be converted is refused by its `config.json` before the weights are fetched. Downloads go through the hub
library's own cache, so a broken one resumes and a second one is free.
"""

from __future__ import annotations

import fnmatch
import json
import os
import re
import shutil
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from engine.convert import check_convertible, convert_folder, read_config
from engine.errors import HubFailed, InvalidModel, MissingExtra
from engine.models import Model, ModelStore
from engine.models.names import render_size

PATTERNS = (
    "config.json",
    "generation_config.json",
    "*.safetensors",
    "*.safetensors.index.json",
    "tokenizer*",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "chat_template.jinja",
    "LICENSE*",
)
"""The files of a repository that make a model; never a model's own code."""

_SIZED = re.compile(r"(?P<family>.+?)[-_](?P<size>\d+(?:\.\d+)?[bmk]|\d+x\d+b)(?:[-_](?P<rest>.+))?")
_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")


@dataclass(frozen=True, slots=True)
class Name:
    """What a pulled model is called."""

    family: str
    size: str


def pull(
    store: ModelStore,
    source: str,
    *,
    name: str | None = None,
    dtype: str | None = "int8",
    revision: str | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Model:
    """Add the model at `source` (a folder, `file:` and a folder, or a hub repository) to the store.

    `name`: `<family>:<size>`, else guessed. `dtype`: the conversion to make, None for none.
    Raises `HubFailed`, `InvalidModel`, `ModelExists`, `UnsupportedModel` and what `convert_folder` does.
    """
    folder, where = _fetch(source, revision, dtype)
    if not list(folder.glob("*.safetensors")):
        raise InvalidModel(f"{source} has no safetensors weights; other formats can run code when loaded")
    if dtype is not None:
        check_convertible(folder, dtype)
    called = _parse_name(name) if name else guess_name(source, folder)
    with store.add(family=called.family, size=called.size, source=where) as draft:
        say(f"copying {source} to {draft.id}")
        _copy(folder, draft.folder / "hf", link=where.startswith("hub:"))
        if dtype is not None:
            say(f"converting {draft.id} to {dtype}")
            convert_folder(draft.folder / "hf", draft.folder / f"ct2-{dtype}", dtype)
    return store.get(draft.id)


def guess_name(source: str, folder: Path) -> Name:
    """Family and size from the source's own name where it has both, else from its configuration and its weights."""
    last = source.removeprefix("file:").rstrip("/").rsplit("/", 1)[-1].lower()
    match = _SIZED.fullmatch(last)
    if match:
        rest = f"-{match['rest']}" if match["rest"] else ""
        return Name(_clean(match["family"] + rest), match["size"])
    model_type = str(read_config(folder).get("model_type") or "model").lower()
    family = last if _REPOSITORY.fullmatch(source) and not Path(source).exists() else model_type
    return Name(_clean(family), render_size(count_parameters(folder)))


def count_parameters(folder: Path) -> int:
    """Numbers in the safetensors files of a folder, read from their headers. Raises `InvalidModel`."""
    return sum(prod(shape) for path in sorted(folder.glob("*.safetensors")) for shape in _shapes(path))


def _shapes(path: Path) -> list[Sequence[int]]:
    try:
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            header: dict[str, Any] = json.loads(file.read(min(length, 100_000_000)))
        return [entry["shape"] for key, entry in header.items() if key != "__metadata__"]
    except (OSError, ValueError, KeyError, TypeError, struct.error) as error:
        raise InvalidModel(f"{path}: not a safetensors file") from error


def _parse_name(name: str) -> Name:
    family, _, size = name.partition(":")
    if not size:
        raise InvalidModel(f"--name: {name!r} is not <family>:<size>, e.g. qwen2.5-coder:7b")
    return Name(family, size)


def _clean(family: str) -> str:
    return re.sub(r"[^a-z0-9._-]+", "-", family).strip("-._") or "model"


def _fetch(source: str, revision: str | None, dtype: str | None) -> tuple[Path, str]:
    """The folder with the files, and where they come from."""
    path = Path(source.removeprefix("file:")).expanduser()
    if source.startswith("file:") or path.is_dir():
        folder = next((place for place in (path, path / "hf") if (place / "config.json").is_file()), None)
        if folder is None:
            raise InvalidModel(f"{path}: no config.json there or in its hf folder; not a model")
        return folder, f"file:{path.resolve()}"
    if not _REPOSITORY.fullmatch(source):
        raise InvalidModel(f"{source!r} is neither a folder nor a hub repository (owner/name)")
    with _translated(source):
        from huggingface_hub import snapshot_download

        if dtype is not None:
            check_convertible(Path(snapshot_download(source, revision=revision, allow_patterns=["config.json"])), dtype)
        folder = Path(snapshot_download(source, revision=revision, allow_patterns=list(PATTERNS)))
    return folder, f"hub:{source}@{folder.name}"


def _copy(source: Path, target: Path, *, link: bool) -> None:
    """Copy, or link where the file system can, so that a cached download is not kept twice."""
    target.mkdir()
    for path in sorted(source.iterdir()):
        wanted = path.is_file() and any(fnmatch.fnmatch(path.name, pattern) for pattern in PATTERNS)
        if wanted and not (link and _linked(path.resolve(), target / path.name)):
            shutil.copyfile(path, target / path.name)


def _linked(path: Path, target: Path) -> bool:
    try:
        os.link(path, target)
    except OSError:  # another file system, or one without links
        return False
    return True


@contextmanager
def _translated(repository: str) -> Iterator[None]:
    """The seam to the hub library: its errors become one line that names the repository."""
    try:
        from huggingface_hub import errors
    except ImportError as error:
        raise MissingExtra("pulling from a hub needs huggingface_hub; run: pip install huggingface_hub") from error
    try:
        yield
    except errors.GatedRepoError as error:
        raise HubFailed(f"{repository}: its licence must be accepted on the hub first; then set HF_TOKEN") from error
    except errors.RepositoryNotFoundError as error:
        raise HubFailed(f"{repository}: no such repository, or a private one (then set HF_TOKEN)") from error
    except errors.RevisionNotFoundError as error:
        raise HubFailed(f"{repository}: no such revision") from error
    except (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled) as error:
        hint = "without a network: copy the files here, then touchstone models pull file:FOLDER"
        raise HubFailed(f"{repository}: the hub cannot be reached and the files are not cached; {hint}") from error
    except (errors.HfHubHTTPError, errors.HFValidationError, errors.XetDownloadError, OSError) as error:
        message = str(error).strip().splitlines() or [type(error).__name__]
        raise HubFailed(f"{repository}: {message[0]}") from error
