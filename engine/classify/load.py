"""Find a verifier's folder and load what this installation can serve of it."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from engine.classify.base import Classifier
from engine.classify.ct2 import Ct2Classifier
from engine.classify.hf import HfClassifier
from engine.classify.manifest import VerifierManifest, read_verifier
from engine.errors import InvalidModel, ModelNotFound
from engine.models.manifest import MANIFEST_NAME

BUNDLED = Path(str(files("engine"))) / "bundled" / "verifiers"
_BEST_FIRST = ("int8", "float32")
FEATURES_NAME = "features.json"


def verifiers_in(state_dir: Path | str) -> dict[str, Path]:
    """Folders of every complete verifier by id: those of the state folder before the bundled ones."""
    found: dict[str, Path] = {}
    for root in (Path(state_dir) / "verifiers", BUNDLED):
        for path in sorted(root.glob(f"[!.]*/{MANIFEST_NAME}")):
            found.setdefault(path.parent.name, path.parent)
    return found


def find_verifier(name: str, state_dir: Path | str) -> Path:
    """A folder by its path, or by its id. Raises `ModelNotFound`: it has no manifest, or which ids are known."""
    if (Path(name) / MANIFEST_NAME).is_file():
        return Path(name)
    known = verifiers_in(state_dir)
    if name not in known and name and Path(name).is_dir():
        raise ModelNotFound(f"{name}: no verifier in this folder: {MANIFEST_NAME} is missing")
    if name not in known:
        raise ModelNotFound(f"no verifier {name!r}; known: {', '.join(known) or 'none'}")
    return known[name]


def load_classifier(folder: Path, *, backend: str = "auto", manifest: VerifierManifest | None = None) -> Classifier:
    """Load a verifier folder's classifier; blocks. Close it when done.

    `manifest`: as `read_verifier` gave it, so that the files are not hashed again.

    `auto` takes the CTranslate2 conversion where there is one (int8 first), else transformers. Raises `InvalidModel`
    for a folder that is faulty, naming the file; `MissingExtra` where only transformers could load it and it is not
    installed, with the command that installs it; `ModelNotFound` where the folder holds no classifier.
    """
    manifest = manifest or read_verifier(folder)
    if backend not in ("auto", "ctranslate2", "transformers"):
        raise InvalidModel(f"backend: {backend!r} is not one of auto, ctranslate2, transformers")
    converted = [dtype for dtype in _BEST_FIRST if (folder / f"ct2-{dtype}" / "model.bin").is_file()]
    if backend != "transformers" and converted:
        return Ct2Classifier(folder / f"ct2-{converted[0]}", manifest, converted[0])
    if backend == "ctranslate2" or not (folder / "hf" / "config.json").is_file():
        raise ModelNotFound(f"{folder}: no {'conversion' if backend == 'ctranslate2' else 'classifier'} in it")
    return HfClassifier(folder / "hf", manifest)
