"""The figures of earlier starts: `<state_dir>/calibration/<model>-<key>.json`.

The key is a hash of all that the figures depend on: another model, host, number of cores or library has another file. A
file that cannot be read is measured again; a folder that cannot be written to costs a measurement at every start.
Figures made while memory was short for one of the ways are served with and not kept.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from engine.calibration.choice import Timing, Way, choose, ways_of
from engine.calibration.host import describe_host
from engine.calibration.measure import measure
from engine.ct2.model import choose_threads, library
from engine.models import Model
from engine.models.manifest import write_json

_METHOD = 2
"""Raised whenever the figures change their meaning."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Calibration:
    """What was measured for one model on this host."""

    timings: tuple[Timing, ...]
    measured_at: datetime
    spent_s: float

    @property
    def chosen(self) -> Timing | None:
        """What `auto` serves; None where nothing could be measured."""
        return choose(self.timings)

    @property
    def passing(self) -> bool:
        """Whether another start may find more than this one."""
        return any(timing.passing for timing in self.timings)

    def __str__(self) -> str:
        chosen = self.chosen
        others = "; ".join(_tell(timing) for timing in self.timings if timing is not chosen)
        return f"{_tell(chosen) if chosen else 'nothing could be measured'} (others: {others or 'none'})"


class _File(BaseModel):
    """The JSON form."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    schema_version: Literal[1] = 1
    key: dict[str, Any]
    measured_at: AwareDatetime
    spent_s: float
    timings: tuple[Timing, ...]


def calibrated(
    model: Model, *, cores: int, folder: Path, again: bool = False, budget_s: float | None = None
) -> Calibration | None:
    """The figures of a model on this CPU: those kept in `folder`, unless `again`, else measured now and kept.

    None where there is nothing to choose between. Measuring blocks for about `budget_s` seconds (None: by the size).
    """
    ways = _ways(model)
    if len(ways) < 2:
        return None
    key = _key(model, ways, cores)
    path = _path(folder, model, key)
    kept = None if again else _read(path, key)
    if kept is not None:
        _log.info("dtype auto for %s, measured %s: %s", model.id, f"{kept.measured_at:%Y-%m-%d}", kept)
        return kept
    began_s = time.monotonic()
    timings = measure(ways, cores=cores, budget_s=budget_s)
    found = Calibration(timings, datetime.now(UTC).replace(microsecond=0), round(time.monotonic() - began_s, 3))
    _log.info("dtype auto for %s, measured in %.1f s: %s", model.id, found.spent_s, found)
    if found.passing:
        _log.warning("memory was short, so these figures are not kept and the next start measures again")
    elif found.chosen is not None:
        _keep(path, key, found)
    return found


def remembered(model: Model, *, cores: int, folder: Path) -> Calibration | None:
    """The figures that are kept of an earlier start; None where there are none, or nothing to choose between."""
    ways = _ways(model)
    key = _key(model, ways, cores)
    return None if len(ways) < 2 else _read(_path(folder, model, key), key)


def _ways(model: Model) -> tuple[Way, ...]:
    conversions = {dtype: model.conversion(dtype) for dtype in model.manifest.conversions}
    return ways_of(conversions, library().get_supported_compute_types("cpu"))


def _path(folder: Path, model: Model, key: dict[str, Any]) -> Path:
    digest = hashlib.blake2b(json.dumps(key, sort_keys=True).encode(), digest_size=8).hexdigest()
    return folder / f"{model.id}-{digest}.json"


def _key(model: Model, ways: Sequence[Way], cores: int) -> dict[str, Any]:
    layouts = {way.conversion: choose_threads(way.file_bytes, cores) for way in ways}
    return {
        "method": _METHOD,
        "weights": {name: model.manifest.checksums.get(f"ct2-{name}/model.bin", "") for name in layouts},
        "ways": [[way.conversion, way.compute] for way in ways],
        "device": "cpu",
        "cores": cores,
        "threads": {name: [layout.workers, layout.intra] for name, layout in layouts.items()},
        "ctranslate2": library().__version__,
        "host": describe_host(),
    }


def _read(path: Path, key: dict[str, Any]) -> Calibration | None:
    try:
        file = _File.model_validate_json(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValidationError) as error:
        _log.warning("%s cannot be read and is measured again: %s", path, _first_line(error))
        return None
    kept = Calibration(file.timings, file.measured_at, file.spent_s)
    return kept if file.key == key and kept.chosen is not None else None


def _keep(path: Path, key: dict[str, Any], found: Calibration) -> None:
    file = _File(key=key, measured_at=found.measured_at, spent_s=found.spent_s, timings=found.timings)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, file.model_dump(mode="json"))
    except OSError as error:
        _log.warning("%s cannot be written, so every start measures again: %s", path, error.strerror)


def _tell(timing: Timing) -> str:
    if timing.many_us is None or timing.one_us is None:
        return f"{timing.dtype} left out, {timing.left_out}"
    return (
        f"{timing.dtype} from ct2-{timing.conversion}, {timing.many_us:.0f} us of CPU a token in 16 candidates, "
        f"{timing.one_us:.0f} in one"
    )


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
