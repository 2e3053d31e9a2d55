"""Which texts go through the encoder together: texts of like length, so that little is spent on padding."""

from __future__ import annotations

from collections.abc import Sequence


def batches(lengths: Sequence[int], *, most_tokens: int) -> list[list[int]]:
    """Positions in batches by length, shortest first: at most `most_tokens` a batch with its padding, or one text."""
    found: list[list[int]] = []
    for position in sorted(range(len(lengths)), key=lengths.__getitem__):
        if found and lengths[position] * (len(found[-1]) + 1) <= most_tokens:
            found[-1].append(position)
        else:
            found.append([position])
    return found
