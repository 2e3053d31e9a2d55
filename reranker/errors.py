"""Errors of reranking, one tree.

RerankError
├── InvalidRequest      an option or a suite cannot be used; carries the field's name
├── UnknownMethod       no scorer of that name; lists the known ones
├── JudgeFailed         the judge failed and the request asked for no fallback
├── InvalidQuestions    a verifier's training file cannot be used; names the line and the field
├── InvalidVerifier     a verifier is faulty, or of the other kind; names the file or folder
└── NoCandidates        the engine ended without a single candidate
"""

from __future__ import annotations


class RerankError(Exception):
    """Reranking could not do what was asked."""


class InvalidRequest(RerankError):
    """An option cannot be used."""

    def __init__(self, field: str, reason: str) -> None:
        super().__init__(field, reason)
        self.field = field
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.field}: {self.reason}"


class UnknownMethod(InvalidRequest):
    """No scorer of that name is registered."""


class JudgeFailed(RerankError):
    """The judge failed and `on_error` is `fail`. `word` is the sandbox's for its own failure, empty for any other."""

    def __init__(self, reason: str, word: str = "") -> None:
        super().__init__(reason, word)
        self.reason = reason
        self.word = word

    def __str__(self) -> str:
        return self.reason


class NoCandidates(RerankError):
    """The engine ended without a candidate."""


class InvalidQuestions(RerankError):
    """A verifier's training file cannot be used."""


class InvalidVerifier(RerankError):
    """A verifier's file of features is faulty, or it was trained for the other use: with or without results."""


def first_of(error: BaseException) -> BaseException:
    """The first single error of a group, which is why the others were cancelled."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
