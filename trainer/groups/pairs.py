"""Groups as the records that TRL's trainers read: pairs for DPO, single judged replies for KTO.

Prompts of chats are lists of messages, and so are what answers them; other prompts are text. A gap to be filled has no
text of its own until a model's layout makes one, so for those `render` must be given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import combinations
from typing import Any

from trainer.errors import BadGroups
from trainer.groups.ladder import is_desirable
from trainer.groups.types import Group

Render = Callable[[dict[str, Any]], str]
"""From a prompt, as the log keeps it, to its text."""


def preferences(
    group: Group, *, margin: float = 0.0, most: int | None = None, render: Render | None = None
) -> Iterator[dict[str, Any]]:
    """`{"prompt", "chosen", "rejected"}` for every two responses whose scores differ by more than `margin`.

    The widest gaps first, `most` of them. Equal scores make no pair: as a preference they would be noise. Raises
    `BadGroups` for a prompt that only `render` could make text of.
    """
    scored = [(response.score, response) for response in group.responses if response.score is not None]
    scored.sort(key=lambda pair: -pair[0])
    pairs = [(high[0] - low[0], high[1], low[1]) for high, low in combinations(scored, 2) if high[0] - low[0] > margin]
    pairs.sort(key=lambda pair: -pair[0])
    prompt = _prompt(group, render) if pairs else ""
    for _, chosen, rejected in pairs[:most]:
        yield {
            "prompt": prompt,
            "chosen": _answer(group, chosen.text),
            "rejected": _answer(group, rejected.text),
        }


def unpaired(group: Group, *, render: Render | None = None) -> Iterator[dict[str, Any]]:
    """`{"prompt", "completion", "label"}` for every scored response: true for a pass, or what a user approved of.

    Raises `BadGroups` as `preferences` does.
    """
    scored = [response for response in group.responses if response.score is not None]
    prompt = _prompt(group, render) if scored else ""
    for response in scored:
        yield {"prompt": prompt, "completion": _answer(group, response.text), "label": is_desirable(response)}


def _prompt(group: Group, render: Render | None) -> str | list[dict[str, str]]:
    match group.prompt:
        case {"kind": "chat", "messages": list(messages)}:
            return [{"role": message["role"], "content": message["content"]} for message in messages]
        case {"kind": "text", "text": str(text)}:
            return text
    if render is None:
        kind = group.prompt.get("kind")
        raise BadGroups(f"render: not given, and a prompt of kind {kind!r} is no text without it")
    return render(group.prompt)


def _answer(group: Group, text: str) -> str | list[dict[str, str]]:
    return [{"role": "assistant", "content": text}] if group.prompt.get("kind") == "chat" else text
