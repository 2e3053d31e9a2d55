"""How groups are made of the log: what one run of it is asked."""

from __future__ import annotations

from dataclasses import dataclass, field

from feedback import LOCAL
from sandbox import Limits
from trainer.errors import BadGroups
from trainer.groups.ladder import TEACHER_BUMP
from trainer.groups.split import HELD_OUT_SHARE

LIMITS = Limits(cpu_s=10.0, wall_s=40.0, test_cpu_s=2.0, test_wall_s=8.0)
"""Of the runs that complete what the log left open: more patient than a request, so that a busy host makes no
negatives."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Raises `BadGroups`, naming the field, for a value out of its range."""

    train_keys: frozenset[str] | None = None
    """Keys whose exchanges may train, `LOCAL` for those without one; None: all of them."""
    exclude_keys: frozenset[str] = frozenset()
    """Keys whose exchanges may not."""
    max_groups_per_key: int | None = 1000
    """Groups that one key has a part in, drawn by hash; None: as many as there are. Those without a key are not
    counted: where no keys are in use there is nobody to be protected from."""
    held_out_share: float = HELD_OUT_SHARE
    max_per_class: int = 16
    """Distinct responses of each class and source in a group, drawn by hash."""
    teacher_bump: float = TEACHER_BUMP
    rating_scale: tuple[float, float] | None = None
    """Lowest and highest rating. The log does not say what a rating means: with None they are not used."""
    contrast: bool = True
    """Leave out prompts whose responses are all worth the same; False keeps them, for losses that take no pairs."""
    limits: Limits = field(default_factory=lambda: LIMITS)
    at_once: int = 4
    """Programs run at a time."""

    def __post_init__(self) -> None:
        if self.max_groups_per_key is not None and self.max_groups_per_key < 1:
            raise BadGroups("max_groups_per_key: must be at least 1")
        if not 0 <= self.held_out_share < 1:
            raise BadGroups("held_out_share: must be at least 0 and below 1")
        if self.max_per_class < 2:
            raise BadGroups("max_per_class: must be at least 2")
        if not 0 <= self.teacher_bump < 0.3:
            raise BadGroups("teacher_bump: must be at least 0 and below 0.3, the smallest step between classes")
        if self.rating_scale is not None and not self.rating_scale[0] < self.rating_scale[1]:
            raise BadGroups("rating_scale: the lowest rating must be below the highest")
        if self.at_once < 1:
            raise BadGroups("at_once: must be at least 1")

    def may_train(self, key_id: str | None) -> bool:
        """Whether exchanges of this key may be trained on."""
        name = LOCAL if key_id is None else key_id
        return name not in self.exclude_keys and (self.train_keys is None or name in self.train_keys)
