"""`ModelStore`: the models of a state folder and the bundled one, and which of them is the champion.

What it guards: readers never see half a folder (temporary folder, manifest last, rename); two writers never overwrite
one another's champion (compare-and-swap under a lock); what is bundled with the package is never written to.
"""

from __future__ import annotations

import fcntl
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

from engine.errors import ChampionMoved, InvalidModel, ModelExists, ModelNotFound, ModelReadOnly
from engine.models.checksums import Damage, checksums_of, find_damage
from engine.models.manifest import MANIFEST_NAME, Manifest, conversions_in, read_manifest, seal, write_manifest
from engine.models.names import ModelName, check_id, check_parts, default_id
from engine.models.pointer import (
    Challenger,
    ContestMode,
    Refusal,
    check_challenge,
    locked,
    read_challenger,
    read_pointer,
    read_previous,
    read_refusals,
    write_challenger,
    write_pointer,
    write_refusal,
)

_TEMPORARY = ".adding-"


@dataclass(frozen=True, slots=True)
class Model:
    """One complete model folder."""

    folder: Path
    manifest: Manifest
    read_only: bool = False

    @property
    def id(self) -> str:
        """The folder's name."""
        return self.manifest.id

    @property
    def hf(self) -> Path:
        """Folder of the unconverted weights and the tokenizer."""
        return self.folder / "hf"

    @property
    def adapter(self) -> Path:
        """Folder of a round's LoRA adapter to its parent's weights, whether or not it is there; `hf` has it put in."""
        return self.folder / "adapter"

    def pull_command(self, dtype: str) -> str:
        """What `touchstone models` is told for a copy of this model in the state folder, converted to `dtype`."""
        return f"pull {self.hf} --name {self.manifest.family}:{self.manifest.size} --dtype {dtype}"

    def conversion(self, dtype: str) -> Path:
        """Folder of the conversion to `dtype`, whether or not it is there."""
        return self.folder / f"ct2-{dtype}"


@dataclass(slots=True)
class Draft:
    """A model folder being written: put files below `folder`, set `evaluation` if there is one."""

    id: str
    folder: Path
    evaluation: Mapping[str, Any] | None = None
    discarded: bool = field(default=False, init=False)

    def discard(self) -> None:
        """Leave nothing behind; for a challenger that the gate refused."""
        self.discarded = True


class ModelStore:
    """The models below `<state_dir>/models` and those bundled with the package. Safe between processes."""

    def __init__(self, state_dir: Path | str, *, bundled_dir: Path | None = None) -> None:
        self.state_dir = Path(state_dir)
        self.root = self.state_dir / "models"
        self.calibrations = self.state_dir / "calibration"
        """Folder of what `engine.calibration` has measured."""
        self._bundled = Path(str(files("engine"))) / "bundled" if bundled_dir is None else bundled_dir
        self._pointer = self.root / "champion.json"
        self._challenger = self.root / "challenger.json"
        self._lock = self.root / ".lock"

    def list(self) -> tuple[Model, ...]:
        """Every complete model, the bundled first, then by family, size and round."""
        own = sorted(self._below(self.root, read_only=False), key=_order)
        taken = {model.id for model in own}
        return (*(model for model in self._below(self._bundled, read_only=True) if model.id not in taken), *own)

    def get(self, name: str) -> Model:
        """The model of this id, full name, or `<family>:<size>` (its newest round). Raises `ModelNotFound`."""
        for root in (self.root, self._bundled):
            direct = root / name / MANIFEST_NAME
            if _is_plain(name) and direct.exists():  # a faulty neighbour must not keep the champion from being served
                return _read_model(direct, read_only=root != self.root)
        models = self.list()
        for matches in (_has_id, _has_name, _has_family):
            found = [model for model in models if matches(model.manifest, name)]
            if found:
                return max(found, key=lambda model: model.manifest.round)
        known = ", ".join(model.id for model in models) or "none"
        raise ModelNotFound(f"no model {name!r}; known: {known}")

    @contextmanager
    def add(
        self,
        *,
        family: str,
        size: str,
        round: int = 0,  # noqa: A002 - the manifest's own word
        id: str | None = None,  # noqa: A002
        parent: str | None = None,
        source: str | None = None,
    ) -> Iterator[Draft]:
        """Write a model folder; it is in place when the block ends well, and gone when it raises or discards.

        Raises `ModelExists` where the id is taken, `InvalidModel` where a part of the name cannot be one.
        """
        check_parts(family, size)
        model_id = id or default_id(family, size, round)
        check_id(model_id)
        with locked(self._lock):
            self._refuse_taken(model_id)
            self._sweep()
            temporary = Path(tempfile.mkdtemp(prefix=f"{_TEMPORARY}{model_id}-", dir=self.root))
            owner = (temporary / ".owner").open("w")
            fcntl.flock(owner, fcntl.LOCK_EX)
        draft = Draft(model_id, temporary)
        try:
            yield draft
            if draft.discarded:
                return
            names = {"id": model_id, "family": family, "size": size}
            seal(temporary, **names, round=round, parent=parent, source=source, evaluation=draft.evaluation)
            (temporary / ".owner").unlink()
            temporary.chmod(0o755)
            with locked(self._lock):
                self._refuse_taken(model_id)
                temporary.rename(self.root / model_id)
        finally:
            owner.close()
            shutil.rmtree(temporary, ignore_errors=True)

    def add_conversion(self, model: Model, dtype: str, convert: Callable[[Path, Path], None]) -> Model:
        """Run `convert(hf folder, new empty folder)` and put its result in place as `ct2-<dtype>/`.

        Raises `ModelReadOnly` for the bundled model; what was there for that dtype before is replaced.
        """
        if model.read_only:
            raise ModelReadOnly(
                f"{model.id} is bundled with the package and cannot be changed; for a copy converted to {dtype}, run: "
                f"touchstone models {model.pull_command(dtype)}"
            )
        temporary = Path(tempfile.mkdtemp(prefix=f".ct2-{dtype}-", dir=model.folder))
        try:
            convert(model.hf, temporary)
            temporary.chmod(0o755)
            with locked(self._lock):
                target = model.conversion(dtype)
                shutil.rmtree(target, ignore_errors=True)
                temporary.rename(target)
                manifest = read_manifest(model.folder)
                hashes = {
                    name: value for name, value in manifest.checksums.items() if Path(name).parts[0] != target.name
                }
                hashes |= checksums_of(model.folder, under=f"{target.name}/")
                manifest = replace(manifest, checksums=hashes, conversions=conversions_in(model.folder))
                write_manifest(model.folder, manifest)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        return replace(model, manifest=manifest)

    def verify(self, model: Model) -> tuple[Damage, ...]:
        """Hash every file of a model and tell what is not as the manifest says; empty means sound."""
        return find_damage(model.folder, model.manifest.checksums)

    def champion(self) -> Model | None:
        """The model to serve: the one pointed to, else the bundled one, else None.

        Raises `ModelNotFound` where the one pointed to is gone.
        """
        pointed = read_pointer(self._pointer)
        if pointed is not None:
            return self.get(pointed)
        return next(iter(self._below(self._bundled, read_only=True)), None)

    def champion_id(self) -> str | None:
        """Id of the model to serve, whether or not its folder is still there."""
        pointed = read_pointer(self._pointer)
        if pointed is None:
            return next((model.id for model in self._below(self._bundled, read_only=True)), None)
        return pointed

    def written(self) -> tuple[tuple[int, int], ...]:
        """Changes whenever champion or challenger is set, also to the same; cheap enough to ask every second."""
        return tuple(_stamp(path) for path in (self._pointer, self._challenger))

    def previous_champion(self) -> str | None:
        """Id of the champion before this one, to roll back to."""
        return read_previous(self._pointer)

    def set_champion(self, expected: str | None, new: str) -> Model:
        """Point to the model with id `new` if the champion's id is still `expected`.

        A contest with the one before ends. Raises `ChampionMoved` where somebody else was first, `InvalidModel` where
        the round was refused.
        """
        with locked(self._lock):
            model = self.get(new)
            current = self._expect(expected)
            self._refuse_refused(model.id, "cannot become champion")
            # The same once more, to have it tried again: what to roll back to stays.
            previous = read_previous(self._pointer) if current == model.id else current
            write_pointer(self._pointer, model.id, previous)
            self._challenger.unlink(missing_ok=True)
        return model

    def challenger(self) -> Challenger | None:
        """The model in a contest against the champion of now, or None. Raises `InvalidModel` on a faulty file."""
        found = read_challenger(self._challenger)
        return found if found is not None and found.champion == self.champion_id() else None

    def set_challenger(self, expected: str | None, new: str, *, mode: ContestMode, share: float) -> Challenger:
        """Put the model with id `new` in a contest against the champion, if that one's id is still `expected`.

        Another contest ends. Raises `ChampionMoved`, `ModelNotFound`, and `InvalidModel` for a refused round, a model
        whose name is the champion's (answers could not be told apart), a mode or a share that cannot be.
        """
        check_challenge(mode, share)
        with locked(self._lock):
            model = self.get(new)
            current = self._expect(expected)
            self._refuse_refused(model.id, "cannot be a challenger")
            if current is None or _order(model) == _order(self.get(current)):
                raise InvalidModel(
                    f"{model.id} has the champion's name; a challenger needs another family, size or round"
                )
            found = Challenger(model.id, mode, share, datetime.now(UTC), current)
            write_challenger(self._challenger, found)
        return found

    def clear_challenger(self, expected: str) -> bool:
        """End the contest of this model without a decision; whether there was one."""
        with locked(self._lock):
            found = read_challenger(self._challenger)
            if found is None or found.id != expected:
                return False
            self._challenger.unlink()
        return True

    def refuse(
        self,
        model_id: str,
        *,
        round: int,  # noqa: A002
        reason: str,
        evaluation: Mapping[str, Any] | None = None,
    ) -> Refusal:
        """Remember that a round was refused; its folder, if it has one, can no longer become champion.

        Its contest ends, if it is in a contest.
        """
        refusal = Refusal(model_id, round, reason, datetime.now(UTC).replace(microsecond=0), evaluation)
        with locked(self._lock):
            write_refusal(self.root / "refused", refusal)
            with suppress(InvalidModel):  # a faulty file is no contest
                found = read_challenger(self._challenger)
                if found is not None and found.id == model_id:
                    self._challenger.unlink()
        return refusal

    def refused(self) -> tuple[Refusal, ...]:
        """Every refused round, oldest first."""
        return read_refusals(self.root / "refused")

    def next_round(self, family: str, size: str) -> int:
        """The lowest round number that neither a model of this family and size nor a refused round has used."""
        used = [m.manifest.round for m in self.list() if (m.manifest.family, m.manifest.size) == (family, size)]
        return 1 + max([0, *used, *(refusal.round for refusal in self.refused())])

    def _expect(self, expected: str | None) -> str | None:
        """The champion's id, under the lock. Raises `ChampionMoved`."""
        current = self.champion_id()
        if current != expected:
            raise ChampionMoved(f"the champion is {current}, not {expected} as expected")
        return current

    def _refuse_refused(self, model_id: str, what: str) -> None:
        if any(refusal.id == model_id for refusal in self.refused()):
            raise InvalidModel(f"{model_id} was refused and {what}")

    def _below(self, root: Path, *, read_only: bool) -> Iterator[Model]:
        for path in sorted(root.glob(f"*/{MANIFEST_NAME}")):
            if path.parent.name.startswith("."):
                continue
            yield _read_model(path, read_only=read_only)

    def _refuse_taken(self, model_id: str) -> None:
        if (self.root / model_id).exists():
            raise ModelExists(f"{model_id} is already in place")

    def _sweep(self) -> None:
        """Remove what died writers left: their lock went with them."""
        for leftover in self.root.glob(f"{_TEMPORARY}*/.owner"):
            with leftover.open() as owner:
                try:
                    fcntl.flock(owner, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    continue
                shutil.rmtree(leftover.parent, ignore_errors=True)


def _read_model(path: Path, *, read_only: bool) -> Model:
    manifest = read_manifest(path.parent)
    if manifest.id != path.parent.name:
        raise InvalidModel(f"{path}: id: {manifest.id!r} is not the folder's name")
    return Model(path.parent, manifest, read_only)


def _stamp(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except FileNotFoundError:
        return (0, 0)
    return (found.st_mtime_ns, found.st_ino)


def _is_plain(name: str) -> bool:
    return not name.startswith(".") and Path(name).name == name


def _order(model: Model) -> tuple[str, str, int]:
    return model.manifest.family, model.manifest.size, model.manifest.round


def _has_id(manifest: Manifest, name: str) -> bool:
    return manifest.id == name


def _has_name(manifest: Manifest, name: str) -> bool:
    try:
        parsed = ModelName.parse(name)
    except InvalidModel:
        return False
    return manifest.name(parsed.dtype) == parsed


def _has_family(manifest: Manifest, name: str) -> bool:
    return f"{manifest.family}:{manifest.size}" == name
