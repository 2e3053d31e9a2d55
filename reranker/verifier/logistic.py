"""A verifier of execution features: a logistic model, kept as JSON and computed without any library for learning."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from reranker.errors import InvalidVerifier
from reranker.verifier.features import FEATURES, Floats, features_of
from reranker.verifier.question import Question

Finite = Annotated[float, Field(allow_inf_nan=False)]


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureModel:
    """P(correct) = sigmoid((w . (x - mean) / scale + bias) / temperature); one entry a feature, in their order."""

    means: tuple[float, ...]
    scales: tuple[float, ...]
    weights: tuple[float, ...]
    bias: float
    temperature: float = 1.0

    def logits(self, features: Floats) -> Floats:
        """One a row of `features`, shape (attempts,)."""
        scaled = (features - np.array(self.means)) / np.array(self.scales)
        return np.asarray((scaled @ np.array(self.weights) + self.bias) / self.temperature, dtype=np.float64)

    def judge(self, question: Question) -> list[float]:
        """P(correct) of each attempt."""
        return [1.0 / (1.0 + math.exp(-max(-60.0, min(60.0, float(x))))) for x in self.logits(features_of(question))]


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")

    kind: Literal["features"] = "features"
    schema_version: Literal[1] = 1
    features: list[str]
    means: list[Finite]
    scales: list[Annotated[Finite, Field(gt=0)]]
    weights: list[Finite]
    bias: Finite
    temperature: Annotated[Finite, Field(gt=0)] = 1.0

    @model_validator(mode="after")
    def _known(self) -> _File:
        if self.features != list(FEATURES):
            raise ValueError("features: not those of this version; train it again")
        if not len(self.features) == len(self.means) == len(self.scales) == len(self.weights):
            raise ValueError("means, scales and weights must have one entry a feature")
        return self


def read_features(path: Path) -> FeatureModel:
    """Raises `InvalidVerifier` naming the file and the field."""
    try:
        file = _File.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"]) or "file"
        raise InvalidVerifier(f"{path}: {field}: {first['msg']}") from error
    except OSError as error:
        raise InvalidVerifier(f"{path}: {error.strerror}") from error
    return FeatureModel(
        means=tuple(file.means),
        scales=tuple(file.scales),
        weights=tuple(file.weights),
        bias=file.bias,
        temperature=file.temperature,
    )


def write_features(path: Path, model: FeatureModel) -> None:
    """Write the model as indented JSON, weights readable beside their names' order."""
    file = _File(
        features=list(FEATURES),
        means=_short(model.means),
        scales=_short(model.scales),
        weights=_short(model.weights),
        bias=model.bias,
        temperature=model.temperature,
    )
    path.write_text(json.dumps(file.model_dump(mode="json"), indent=1) + "\n", encoding="utf-8")


def _short(values: Sequence[float]) -> list[float]:
    return [float(f"{value:.7g}") for value in values]
