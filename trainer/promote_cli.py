"""`touchstone train promote`: end a challenger's contest by hand, whatever its evidence, or look at the evidence."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from engine import Challenger, EngineError, Model, ModelStore
from feedback import FeedbackError, Verdict, canary_differences, find_log, judge_contest, shadow_differences


def promote(
    challenger: Annotated[
        str | None, typer.Option(help="Model to promote or refuse (default: the one in a contest with the champion).")
    ] = None,
    refuse: Annotated[bool, typer.Option("--refuse", help="Refuse it instead: it can never be champion.")] = False,
    reason: Annotated[str | None, typer.Option(help="Why, for --refuse.")] = None,
    show: Annotated[bool, typer.Option("--show", help="Only print what the contest has come to.")] = False,
    state_dir: Annotated[
        Path | None,
        typer.Option(help="Folder of models and log.", show_default="as `touchstone serve` finds it here"),
    ] = None,
    database: Annotated[str | None, typer.Option(metavar="URL", help="The log, where it is elsewhere.")] = None,
) -> None:
    """Make the challenger champion, or refuse it, by hand, and print the contest's evidence. Servers follow."""
    if refuse != (reason is not None) or (show and refuse):
        raise typer.BadParameter("--refuse and --reason go together, and not with --show", param_hint="--refuse")
    try:
        where = find_log(database, state_dir)
        store = ModelStore(where.state_dir)
        contest = store.challenger()
        if challenger is None and contest is None:
            raise typer.BadParameter("there is no challenger; name a model", param_hint="--challenger")
        model = store.get(challenger or (contest.id if contest is not None else ""))
        ours = contest if contest is not None and contest.id == model.id else None
        told: dict[str, Any] = {"id": model.id, "contest": None}
        if ours is not None:
            told["contest"] = {"mode": ours.mode, "share": ours.share, "since": ours.since.isoformat()}
            told["contest"] |= asdict(asyncio.run(evidence(store, ours, where.log)))
        told["decision"] = "none" if show else _decide(store, model, ours, reason, told["contest"])
    except (EngineError, FeedbackError) as error:
        typer.echo(f"touchstone train: {error}", err=True)
        raise typer.Exit(1) from error
    typer.echo(json.dumps(told, indent=2))


async def evidence(store: ModelStore, contest: Challenger, log: str | Path) -> Verdict:
    """What a contest has come to by now, with the rule's own numbers. Raises `FeedbackError` where there is no log."""
    from feedback import SqlStore

    opened = await asyncio.to_thread(SqlStore.open, log, create=False)
    try:
        seen = await opened.outcomes(contest.since)
    finally:
        await opened.aclose()
    pairs_of = shadow_differences if contest.mode == "shadow" else canary_differences
    champion, challenger = _names(store.get(contest.champion)), _names(store.get(contest.id))
    return judge_contest(pairs_of(seen, champion=champion, challenger=challenger))


def register(app: typer.Typer) -> None:
    """Add the command to `touchstone train`."""
    app.command()(promote)


def _decide(
    store: ModelStore, model: Model, contest: Challenger | None, reason: str | None, found: dict[str, Any] | None
) -> str:
    if reason is not None:
        evaluation = None if found is None else {"contest": found}
        store.refuse(model.id, round=model.manifest.round, reason=reason, evaluation=evaluation)
        return "refuse"
    store.set_champion(contest.champion if contest is not None else store.champion_id(), model.id)
    return "promote"


def _names(model: Model) -> set[str]:
    """Every name under which a server may have logged a model's answers."""
    dtypes = (*model.manifest.conversions, "float32", "bfloat16", "float16")
    return {str(model.manifest.name(dtype)) for dtype in dtypes}
