"""Errors of engines, one tree.

EngineError
├── UnsupportedField      a request field the engine cannot honour; carries its name
├── ContextTooLong        prompt and max_tokens exceed the context length
├── Overloaded            the waiting queue has no place for it, or none in time; carries a retry hint in seconds
├── EngineFailed          the engine broke while working
├── UnsupportedModel      a model family or file the engine cannot load; says which engine can
├── ModelNotConverted     a model folder lacks the conversion; carries the command that makes it
├── ModelNotFound         no such model folder
├── ModelExists           a model folder of that id is already in place
├── ModelReadOnly         the bundled model was asked to change
├── InvalidModel          a model folder, its manifest or a name of it is faulty; names the field
├── ChampionMoved         somebody else moved the champion pointer first
├── HubFailed             a model hub could not deliver; names the repository
├── MissingExtra          an optional package is not installed; carries the command that installs it
├── BadSettings           the configuration file, or a variable beside it, cannot be read; names the section
├── InvalidSetting        a setting of `[engine]` cannot be honoured; names it
├── UnknownEngine         no engine has that name; lists those there are
└── UnsupportedDtype      the host cannot compute in the type asked for; lists those it can
"""

from __future__ import annotations

import math


class EngineError(Exception):
    """An engine could not do what was asked."""


class UnsupportedField(EngineError):
    """The engine cannot honour a field of the request."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(field, reason)
        self.field = field
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.field}: {self.reason}"


class ContextTooLong(EngineError):
    """The prompt and the tokens asked for do not fit the model's context."""

    def __init__(self, reason: str, field: str = "prompt") -> None:
        """`field`: which of the two is to be made less."""
        super().__init__(reason)
        self.field = field


class Overloaded(EngineError):
    """The waiting queue has no place for the request, or would not come to it in time."""

    def __init__(self, retry_after_s: float, reason: str = "the waiting queue is full") -> None:
        super().__init__(retry_after_s, reason)
        self.retry_after_s = retry_after_s
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.reason}; try again in {math.ceil(self.retry_after_s)} s"


class EngineFailed(EngineError):
    """The engine broke while working."""


class UnsupportedModel(EngineError):
    """The engine cannot load this model family."""


class ModelNotConverted(EngineError):
    """The model folder lacks the conversion this engine needs."""


class ModelNotFound(EngineError):
    """There is no such model folder."""


class UnsupportedDtype(EngineError):
    """The host cannot compute in this type."""


class ModelExists(EngineError):
    """A model folder of that id is already in place."""


class ModelReadOnly(EngineError):
    """The bundled model cannot be changed."""


class InvalidModel(EngineError):
    """A model folder, its manifest or a name of it is faulty."""


class ChampionMoved(EngineError):
    """The champion is no longer the one expected."""


class HubFailed(EngineError):
    """A model hub could not deliver a repository."""


class MissingExtra(EngineError):
    """An optional package is not installed."""


class BadSettings(EngineError, ValueError):
    """`touchstone.toml`, or a variable beside it, cannot be read."""


class InvalidSetting(EngineError):
    """A setting of `[engine]` is unknown, or cannot be honoured here."""

    def __init__(self, setting: str, reason: str) -> None:
        super().__init__(setting, reason)
        self.setting = setting
        self.reason = reason

    def __str__(self) -> str:
        return f"engine.{self.setting}: {self.reason}"


class UnknownEngine(EngineError):
    """No engine has that name."""
