"""`type = "auto"`: what `touchstone bench table` timed of a model's engines on this host, and which is the fastest.

`<state_dir>/calibration/engines-<key>.json`; the key is a hash of all that the figures depend on. Models of one shape
share them, a round with the one it grew from: speed does not depend on what the weights are.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from engine.calibration.choice import EQUAL_WITHIN
from engine.calibration.host import describe_host
from engine.models import Model
from engine.models.manifest import write_json
from engine.registry import LIBRARIES, engine_names, library_version

_METHOD = 1
"""Raised whenever the figures change their meaning."""
_OF_NO_SHAPE = ("_name_or_path", "transformers_version")
_SET_BY_ENGINES = "OMP_WAIT_POLICY"
_log = logging.getLogger(__name__)


class EngineTiming(BaseModel):
    """What requests of `n` candidates took with one engine."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    engine: str
    dtype: str
    """Asked for; "auto" is what the engine chose by itself."""
    effective: str
    """The type computed in."""
    n: Annotated[int, Field(ge=1)]
    ms_per_token: Annotated[float, Field(gt=0)]
    """Of all candidates together, the prompt's computation included."""


class EngineTimings(BaseModel):
    """The JSON form: rows of one table that took turns, so that they can be compared."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    schema_version: Literal[1] = 1
    key: dict[str, Any]
    model: str
    """The one that was measured."""
    measured_at: AwareDatetime
    timings: tuple[EngineTiming, ...]


def keep_timings(model: Model, timings: Sequence[EngineTiming], *, cores: int, device: str, folder: Path) -> Path:
    """Write them for `fastest` to find, in place of earlier ones of the same types, which took no turns with them."""
    key = _key(model, cores, device)
    path, types = _path(folder, key), {timing.dtype for timing in timings}
    before = _read(path, key)
    others = [timing for timing in before.timings if timing.dtype not in types] if before else []
    found = EngineTimings(
        key=key, model=model.id, measured_at=datetime.now(UTC).replace(microsecond=0), timings=(*timings, *others)
    )
    folder.mkdir(parents=True, exist_ok=True)
    write_json(path, found.model_dump(mode="json"))
    return path


def remembered_timings(model: Model, *, cores: int, device: str, folder: Path) -> EngineTimings | None:
    """What is kept of a model of this shape on this host; None where there is nothing."""
    key = _key(model, cores, device)
    return _read(_path(folder, key), key)


def fastest(timings: Sequence[EngineTiming], *, dtype: str, n: int, among: Collection[str]) -> tuple[EngineTiming, ...]:
    """Those of this type and of the number of candidates nearest to `n`, the chosen one first, then by time.

    What takes less than `EQUAL_WITHIN` times the least is equal to it, and of equals the engine is taken that the
    registry names first: the light install's.
    """
    of_type = [timing for timing in timings if timing.dtype == dtype and timing.engine in among]
    if not of_type:
        return ()
    nearest = min({timing.n for timing in of_type}, key=lambda measured: abs(math.log(measured / n)))
    found = sorted((t for t in of_type if t.n == nearest), key=lambda timing: timing.ms_per_token)
    equal = [timing for timing in found if timing.ms_per_token <= EQUAL_WITHIN * found[0].ms_per_token]
    chosen = min(equal, key=lambda timing: engine_names().index(timing.engine))
    return (chosen, *(timing for timing in found if timing is not chosen))


def _key(model: Model, cores: int, device: str) -> dict[str, Any]:
    path = model.hf / "config.json"
    shape = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    host = describe_host()
    return {
        "method": _METHOD,
        "shape": {name: value for name, value in shape.items() if name not in _OF_NO_SHAPE},
        "conversions": sorted(model.manifest.conversions),
        "cores": cores,
        "device": device,
        "libraries": {name: library_version(name) for name in LIBRARIES},
        "host": {name: value for name, value in host.items() if name != _SET_BY_ENGINES},
    }


def _path(folder: Path, key: dict[str, Any]) -> Path:
    digest = hashlib.blake2b(json.dumps(key, sort_keys=True).encode(), digest_size=8).hexdigest()
    return folder / f"engines-{digest}.json"


def _read(path: Path, key: dict[str, Any]) -> EngineTimings | None:
    try:
        found = EngineTimings.model_validate_json(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValidationError) as error:
        _log.warning("%s cannot be read and does not count: %s", path, str(error).partition("\n")[0])
        return None
    return found if found.key == key else None
