"""Which Touchstone this is, for records, replies and reports."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def touchstone_version() -> str:
    """The installed version; `0+unknown` where the sources run without having been installed."""
    try:
        return version("touchstone")
    except PackageNotFoundError:
        return "0+unknown"
