"""The served model's own tokenizer, where its engine has one, and what of a gap has room in the model's context."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from engine import Engine, Fim, Tokenizer
from server.served import Served
from server.translate.ask import Ask

_LONG_PROMPT = 10_000
"""Characters that are read off the event loop."""


def tokenizer_of(engine: Engine) -> Tokenizer | None:
    """The tokenizer of an engine that has one of its own."""
    found = getattr(engine, "tokenizer", None)
    return found if isinstance(found, Tokenizer) else None


async def fitted(ask: Ask, served: Served) -> Ask:
    """The request with its gaps cut to what the model's context holds: editors send whole files without counting.

    What is tested and told stays whole; only what the model reads is less. An engine without a tokenizer here refuses
    what is too long, as every engine does with any other prompt.
    """
    tokenizer = tokenizer_of(served.engine)
    if tokenizer is None or not any(isinstance(task.prompt, Fim) for task in ask.tasks):
        return ask
    context = served.info.context_length
    room = max(context - ask.options.sampling.max_tokens, context // 2)
    tasks, lost = [], set[str]()
    for task in ask.tasks:
        if isinstance(task.prompt, Fim):
            whole, cut = task.prompt, await _cut(tokenizer, task.prompt, room)
            lost |= {name for name in ("files", "prefix", "suffix") if getattr(cut, name) != getattr(whole, name)}
            tasks.append(replace(task, prompt=cut))
        else:
            tasks.append(task)
    return replace(ask, tasks=tuple(tasks), truncated=tuple(sorted(lost))) if lost else ask


async def _cut(tokenizer: Tokenizer, prompt: Fim, room: int) -> Fim:
    characters = len(prompt.prefix) + len(prompt.suffix) + sum(len(text) for _, text in prompt.files)
    if characters < _LONG_PROMPT:
        return tokenizer.fitted(prompt, room)
    return await asyncio.to_thread(tokenizer.fitted, prompt, room)
