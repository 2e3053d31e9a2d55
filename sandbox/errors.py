"""Errors of the sandbox itself. A failing candidate is never one of these; it is an `Outcome`.

SandboxError
├── SandboxUnavailable     the kernel refuses the isolation; carries the reasons and the fixes
├── LaunchFailed           the isolation could not be set up this time, or its process died
├── SandboxBusy            too many runs wait already; try again later
├── UnsupportedLanguage    the program's language is unknown, or its toolchain is not here; says how to get it
└── InvalidSuite           the suite cannot be run as it is: names what is wrong with it
"""

from __future__ import annotations

from typing import ClassVar


class SandboxError(Exception):
    """The sandbox could not do its work."""

    word: ClassVar[str] = "sandbox_error"
    """What stands in the place of a status where a run did not come about: in counts and in the commands' JSON."""


class SandboxUnavailable(SandboxError):
    """The host cannot isolate untrusted code."""

    word = "sandbox_unavailable"

    def __init__(self, reasons: tuple[str, ...], how_to_fix: tuple[str, ...] = ()) -> None:
        super().__init__("; ".join(reasons) or "isolation is unavailable")
        self.reasons = reasons
        self.how_to_fix = how_to_fix

    def __reduce__(self) -> tuple[type[SandboxUnavailable], tuple[tuple[str, ...], tuple[str, ...]]]:
        return type(self), (self.reasons, self.how_to_fix)


class LaunchFailed(SandboxError):
    """The isolated process could not be started or died before it could answer."""


class SandboxBusy(SandboxError):
    """As many runs wait already as may wait."""

    word = "sandbox_busy"


class UnsupportedLanguage(SandboxError):
    """Programs of this language cannot be run here; `how_to_fix` is empty for a name nobody knows."""

    word = "unsupported_language"

    def __init__(self, language: str, reason: str, how_to_fix: tuple[str, ...] = ()) -> None:
        super().__init__(": ".join((reason, *how_to_fix)))
        self.language, self.reason, self.how_to_fix = language, reason, how_to_fix

    def __reduce__(self) -> tuple[type[UnsupportedLanguage], tuple[str, str, tuple[str, ...]]]:
        return type(self), (self.language, self.reason, self.how_to_fix)


class InvalidSuite(SandboxError):
    """The suite does not parse, holds no test, or is larger than allowed."""

    word = "invalid_suite"
