"""`[trainer]`: what a round is made of. Defaults < `touchstone.toml` < environment < flags; unknown keys are errors.

Of the other sections only `state_dir` and `feedback.database_url` are read: where the models and the log are.
"""

from __future__ import annotations

import hashlib
import json
import os
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from engine import EngineConfig, find_state_dir, read_settings
from trainer.errors import BadPlan, BadSetting
from trainer.groups import HELD_OUT_SHARE, Settings
from trainer.tuning import BY_TRL, Recipe

_PREFIX = "TOUCHSTONE_TRAINER__"

Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]


class Section(BaseModel):
    """A part of the section."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class SamplesConfig(Section):
    """`[trainer.samples]`: what the champion is asked anew, for the prompts of the groups."""

    n: Annotated[int, Field(ge=0)] = 0
    """Samples a prompt and temperature; 0: the log alone."""
    temperatures: tuple[Annotated[float, Field(gt=0, le=2)], ...] = (0.8,)
    """Each is sampled `n` times."""
    top_p: Annotated[float, Field(gt=0, le=1)] = 0.95
    """Of the likeliest tokens, those that hold so much; of teachers too."""
    max_tokens: Count = 256
    """A sample; of teachers too."""


class TeacherConfig(Section):
    """One of `[[trainer.teachers]]`: an engine to sample, or a file of solutions."""

    name: Annotated[str, Field(pattern=r"^[a-zA-Z0-9][a-zA-Z0-9._-]*$")]
    """How progress and the files of its answers call it; groups and reports name its model."""
    file: Path | None = None
    """JSON lines of `prompt` (or `exchange`, or `task_id`), `completion` and `model`."""
    engine: EngineConfig | None = None
    """As `[engine]`; `type = "openai"` for a model elsewhere."""
    n: Count = 4
    """Samples a prompt and temperature."""
    temperatures: tuple[Annotated[float, Field(gt=0, le=2)], ...] = (0.8,)
    """Each is sampled `n` times."""

    @model_validator(mode="after")
    def _one(self) -> TeacherConfig:
        if (self.file is None) == (self.engine is None):
            raise ValueError("give file or engine, one of them")
        if self.file is not None and self.model_fields_set & {"n", "temperatures"}:
            raise ValueError("n and temperatures are an engine's; of a file every solution is taken")
        return self


class GroupsConfig(Section):
    """`[trainer.groups]`: what of the log is learnt from, see docs/training.md."""

    held_out_share: Annotated[float, Field(ge=0, lt=1)] = HELD_OUT_SHARE
    """Of the prompts, kept for evaluation by their hash."""
    least: Count = 32
    """Prompts to learn from that a round needs; with fewer it says so and ends."""
    passing: bool = True
    """Only prompts with a response that passed or that a user took, beside worse ones: a preference among failures
    teaches little and costs as much."""
    max_groups_per_key: Count | None = 1000
    """So that nobody's own tests steer the model; those without a key are not counted."""
    train_keys: tuple[str, ...] | None = None
    """Only these keys' exchanges; None: all but `exclude_keys`. `local`: those without a key."""
    exclude_keys: tuple[str, ...] = ()
    """Keys whose exchanges are logged and never learnt from."""

    @property
    def settings(self) -> Settings:
        """As `groups_from` takes them. Prompts without contrast are kept: fresh samples may bring some."""
        return Settings(
            train_keys=None if self.train_keys is None else frozenset(self.train_keys),
            exclude_keys=frozenset(self.exclude_keys),
            max_groups_per_key=self.max_groups_per_key,
            held_out_share=self.held_out_share,
            contrast=False,
        )


class EvaluationConfig(Section):
    """`[trainer.evaluation]`: how champion and challenger are measured."""

    suites: tuple[str, ...] = ()
    """Suites as `touchstone eval --suite` takes them; held-out prompts of the log with tests are measured too."""
    limit: Count | None = None
    """Only the first so many problems of each suite."""
    n: Count = 8
    """Samples a problem."""
    temperature: Annotated[float, Field(gt=0, le=2)] = 0.8
    """Of the samples; one more is greedy."""


class GateConfig(Section):
    """`[trainer.gate]`: what a challenger must show."""

    least_gain: Annotated[float, Field(ge=-1, le=1)] = 0.0
    """Lower end of the 95 % interval of what sampled pass@1 gains on the champion, paired by problem."""
    most_lost_variety: Share = 0.02
    """pass@k at the largest k may not be clearly lower by more than this."""
    most_lost_quantised: Share = 0.02
    """Sampled pass@1 of the served type may not be clearly lower than that of float32 by more than this."""
    least_problems: Count = 20
    """Evaluated; with fewer the gate says no."""


class TrainerConfig(Section):
    """`[trainer]`."""

    groups: GroupsConfig = GroupsConfig()
    samples: SamplesConfig = SamplesConfig()
    teachers: tuple[TeacherConfig, ...] = ()
    recipe: Recipe = Field(default_factory=Recipe)
    """How to train."""
    dtypes: tuple[str, ...] = ("int8", "float32")
    """Conversions that the new model gets; the first is the one evaluated against the champion and served."""
    evaluation: EvaluationConfig = EvaluationConfig()
    gate: GateConfig = GateConfig()
    publish: Literal["champion", "shadow", "canary", "none"] = "champion"
    """What a model that passes becomes: the champion at once, a challenger on trial, or only a model in the store."""
    share: Annotated[float, Field(gt=0, le=1)] = 0.1
    """Of the traffic, for a challenger on trial."""
    threads: Count = 1
    """Of each process, and of evaluation: leave serving its cores. Small models train faster by more processes than by
    more threads."""
    processes: Count = 1
    """Processes that train together, `threads` each, and that make groups of a long log."""
    ray: str | None = None
    """`host:port` or `auto`: as many processes train and as many engines sample on the nodes of this Ray cluster
    (`docs/ray.md`); the rest of a round is done here."""
    nice: Annotated[int, Field(ge=0, le=19)] = 10
    """How far behind other processes the round stands."""

    @model_validator(mode="after")
    def _consistent(self) -> TrainerConfig:
        if not self.dtypes:
            raise ValueError("dtypes: name at least the type to serve")
        named = {
            "dtypes": self.dtypes,
            "teachers": [teacher.name for teacher in self.teachers],
            "evaluation.suites": self.evaluation.suites,
        }
        for field, names in named.items():
            if len(set(names)) < len(names):
                raise ValueError(f"{field}: one is named twice")
        if self.recipe.loss in BY_TRL and self.processes > 1:
            raise ValueError(f"processes: {self.recipe.loss} trains in one process")
        if self.ray is not None and self.recipe.loss in BY_TRL:
            raise ValueError(f"ray: {self.recipe.loss} trains in one process here")
        if self.ray is not None and find_spec("ray") is None:
            raise ValueError("ray: Ray is not installed: pip install 'touchstone[ray]'")
        return self


class Config(Section):
    """What the commands of rounds read."""

    state_dir: Path
    database_url: str
    trainer: TrainerConfig = TrainerConfig()

    def digest(self) -> str:
        """Hash of the resolved `[trainer]`, wherever it is carried out: a round may go on without its cluster."""
        text = json.dumps(self.trainer.model_dump(mode="json", exclude={"ray"}), sort_keys=True)
        return "b2:" + hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def load(path: Path | None = None, flags: dict[str, Any] | None = None) -> Config:
    """Resolve the configuration; `path` None reads `./touchstone.toml` if it is there.

    `flags` is nested as the file is: `{"state_dir": ..., "trainer": {...}}`; None means: not given.
    Raises `BadSetting`, naming the key.
    """
    try:
        file = read_settings(path)
    except ValueError as error:
        raise BadSetting(str(error)) from error
    flags = flags or {}
    folder = find_state_dir(flags.get("state_dir"), file).absolute()  # others read what is in it
    url = _first(os.environ.get("TOUCHSTONE_FEEDBACK__DATABASE_URL"), _table(file, "feedback").get("database_url"))
    section = _merged(_merged(_table(file, "trainer"), _environment()), flags.get("trainer") or {})
    try:
        trainer = TrainerConfig.model_validate(section)
    except ValidationError as error:
        raise BadSetting("\n".join(_lines(error))) from error
    except BadPlan as error:
        raise BadSetting(f"trainer.{error}") from error
    return Config(state_dir=folder, database_url=url or f"sqlite:///{folder / 'touchstone.db'}", trainer=trainer)


def _table(file: dict[str, Any], name: str) -> dict[str, Any]:
    found = file.get(name, {})
    if not isinstance(found, dict):
        raise BadSetting(f"{name}: must be a table")
    return found


def _environment() -> dict[str, Any]:
    """`TOUCHSTONE_TRAINER__GROUPS__LEAST=10` as nested tables; a value is JSON where it can be read as such."""
    found: dict[str, Any] = {}
    for name, text in os.environ.items():
        if not name.startswith(_PREFIX):
            continue
        *tables, key = name.removeprefix(_PREFIX).lower().split("__")
        place = found
        for table in tables:
            place = place.setdefault(table, {})
            if not isinstance(place, dict):
                raise BadSetting(f"{name}: another variable gives {table} a value, which is no table then")
        try:
            place[key] = json.loads(text)
        except ValueError:
            place[key] = text
    return found


def _merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Tables key by key, `above` winning; None there means: not given."""
    result = dict(below)
    for key, value in above.items():
        if isinstance(value, dict):
            inner = result.get(key)
            result[key] = _merged(inner if isinstance(inner, dict) else {}, value)
        elif value is not None:
            result[key] = value
    return result


def _first(*values: Any) -> str | None:
    return next((str(value) for value in values if value), None)


def _lines(error: ValidationError) -> list[str]:
    lines = []
    for item in error.errors(include_url=False):
        key = ".".join(("trainer", *(str(part) for part in item["loc"])))
        message = "unknown key" if item["type"] == "extra_forbidden" else item["msg"].removeprefix("Value error, ")
        lines.append(f"{key}: {message}")
    return lines
