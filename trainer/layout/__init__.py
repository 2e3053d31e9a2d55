"""Layouts: how the responses of a prompt become rows for a model. Both give the same log-probabilities."""

from trainer.layout.choose import Choice, choose_layout, without_dropout
from trainer.layout.packed import packed
from trainer.layout.plain import plain
from trainer.layout.types import Layout, Logprobs, Tokens

__all__ = ["Choice", "Layout", "Logprobs", "Tokens", "choose_layout", "packed", "plain", "without_dropout"]
