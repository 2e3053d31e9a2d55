"""Which side a prompt is on. By its hash alone, so that rounds agree and nothing leaks from one to the next."""

from __future__ import annotations

import hashlib
from typing import Any

from trainer.groups.types import Split

HELD_OUT_SHARE = 0.1
_ROOM = 2**64


def split_of(prompt_hash: str, held_out_share: float = HELD_OUT_SHARE) -> Split:
    """The side of a prompt. A larger share only moves prompts from `train` to `held_out`, never back."""
    return "held_out" if draw("split", prompt_hash) < held_out_share * _ROOM else "train"


def draw(*parts: Any) -> int:
    """A number below 2**64 that is the same in every process, and as good as random."""
    digest = hashlib.blake2b("\0".join(map(str, parts)).encode("utf-8", "surrogatepass"), digest_size=8)
    return int.from_bytes(digest.digest(), "big")
