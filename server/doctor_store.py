"""The log's part of `touchstone doctor`: its database, and what waits in the outbox. Looks and changes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from server.config import Config


def look_at_log(config: Config) -> dict[str, Any]:
    """`kind`, `schema`, `exchanges`, `problem`, `how_to_fix`, and `outbox`: how many wait there (None: it has none)."""
    from feedback import FeedbackError, StoreUnavailable, peek

    local = config.is_database_local
    found: dict[str, Any] = {
        "kind": "sqlite" if local else "postgresql",
        "schema": None,
        "exchanges": None,
        "outbox": None,
        "problem": None,
        "how_to_fix": [],
    }
    try:
        if not local:
            found["outbox"] = peek(f"sqlite:///{config.outbox_path}").exchanges
        seen = peek(config.database_url)
        found |= {"schema": seen.schema, "exchanges": seen.exchanges}
    except StoreUnavailable as error:
        found["problem"] = f"the log's database is away, records go to the outbox until it is back: {error}"
        found["how_to_fix"] = ["start the server that feedback.database_url names, or correct the URL"]
    except FeedbackError as error:
        found["problem"] = str(error)
    return found


def described(found: dict[str, Any]) -> str:
    """The same in a line."""
    if found["problem"]:
        return str(found["problem"])
    has = "nothing logged yet" if not found["exchanges"] else f"{found['exchanges']} exchanges"
    waiting = f"; {found['outbox']} wait in the outbox" if found["outbox"] else ""
    return f"{found['kind']}, {has}{waiting}"
