"""What every step of a round is given."""

from __future__ import annotations

from dataclasses import dataclass

from engine import Model, ModelStore
from trainer.rounds.config import Config
from trainer.rounds.folder import Facts, RoundFolder
from trainer.rounds.told import Told


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """One round under way."""

    config: Config
    facts: Facts
    folder: RoundFolder
    store: ModelStore
    parent: Model
    """The champion it starts from."""
    told: Told
