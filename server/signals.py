"""Signals on their way into the log, whichever route they came by."""

from __future__ import annotations

from collections.abc import Sequence

from feedback import Receipt, Signal
from server.keys.caller import Caller
from server.service import Service


async def keep(service: Service, caller: Caller, signals: Sequence[Signal], channel: str) -> tuple[Receipt, ...]:
    """Store all of them or none, and count those that are no repeats. `channel`: a word for who says such things.

    Raises what `FeedbackStore.signals` does.
    """
    receipts = await service.store.signals(signals, key_id=caller.id)
    for signal, receipt in zip(signals, receipts, strict=True):
        if not receipt.duplicate:
            service.metrics.feedback(signal.type, channel)
    return receipts
