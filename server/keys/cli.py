"""`touchstone keys`: make, list and revoke the keys of a server. A running server takes the change up by itself."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

if TYPE_CHECKING:
    from pydantic import ValidationError

    from server.config import Config

app = typer.Typer(
    add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False, help="Who may ask this server for what."
)

ConfigFile = Annotated[
    Path | None, typer.Option("--config", help="Configuration file; ./touchstone.toml if it is there.")
]
StateDir = Annotated[Path | None, typer.Option(help="The state folder.", show_default="the user's data folder")]
_SPAN = re.compile(r"(\d{1,5})([hdw])")
_HOURS = {"h": 1, "d": 24, "w": 7 * 24}


class PrivacyOption(StrEnum):
    """`Privacy` for the command line."""

    FULL = "full"
    NO_TEXT = "no_text"
    OFF = "off"


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="What people call it: whose it is, or what uses it.")],
    scope: Annotated[
        list[str] | None,
        typer.Option(
            help="What it may do, several times: completions, rerank:tests, suites, feedback, admin, metrics.",
            show_default="completions, rerank:tests, feedback",
        ),
    ] = None,
    expires: Annotated[str | None, typer.Option(help="How long it is good for: 12h, 90d, 52w.")] = None,
    privacy: Annotated[
        PrivacyOption, typer.Option(help="What is logged of its requests: all, hashes and numbers alone, nothing.")
    ] = PrivacyOption.FULL,
    train: Annotated[bool, typer.Option(help="Whether what is logged may be trained on.")] = True,
    rerank: Annotated[
        str | None, typer.Option(help="Reranking of plain requests that do not say: off, auto16, ...")
    ] = None,
    profile: Annotated[
        str | None, typer.Option(help="The same by a profile of the configuration's, instead of --rerank.")
    ] = None,
    limit: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=NUMBER", help="A limit of its own, of those in `limits` (docs/settings.md)."),
    ] = None,
    config: ConfigFile = None,
    state_dir: StateDir = None,
) -> None:
    """Make a key and print it, this once: only its hash is kept."""
    from pydantic import ValidationError

    from server.keys.file import KeysUnreadable, add_key
    from server.keys.types import USUAL, new_key

    settings = _settings(config, state_dir)
    if profile is not None and profile not in settings.profiles:
        known = ", ".join(settings.profiles) or "none is configured"
        _end(f"profile: there is no profile {profile!r}; known: {known}")
    until = None if expires is None else datetime.now(UTC) + _span(expires)
    try:
        key, secret = new_key(
            name,
            scopes=tuple(dict.fromkeys(scope or USUAL)),
            expires_at=until,
            privacy=privacy.value,
            train=train,
            rerank=rerank,
            profile=profile,
            limits=dict(each.partition("=")[::2] for each in limit or ()),
        )
        _tell_of_namesakes(settings.keys_path, name)
        add_key(settings.keys_path, key)
    except ValidationError as error:
        _end(_first_of(error))
    except KeysUnreadable as error:
        _end(str(error))
    typer.echo(f"{key.id}, {', '.join(key.scopes)}. Its secret is not shown again:", err=True)
    typer.echo(secret)


def _tell_of_namesakes(path: Path, name: str) -> None:
    from server.keys.file import read_keys

    for other in read_keys(path):
        if other.name == name and not other.why_not(datetime.now(UTC)):
            typer.echo(f"{other.id} has that name, too", err=True)


def _first_of(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    where = "".join(f"{part}: " for part in (".".join(map(str, first["loc"])),) if part)
    unknown = first["type"] == "extra_forbidden"
    return where + ("there is no such limit" if unknown else first["msg"].removeprefix("Value error, "))


@app.command("list")
def list_keys(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    config: ConfigFile = None,
    state_dir: StateDir = None,
) -> None:
    """List the keys, without secrets or their hashes."""
    from server.keys.file import KeysUnreadable, read_keys

    try:
        keys = read_keys(_path(config, state_dir))
    except KeysUnreadable as error:
        _end(str(error))
    now = datetime.now(UTC)
    if as_json:
        rows = [key.model_dump(mode="json", exclude={"digest"}) | {"problem": key.why_not(now)} for key in keys]
        typer.echo(json.dumps(rows))
        return
    for key in keys:
        until = "" if key.expires_at is None else f", until {key.expires_at:%Y-%m-%d %H:%M} UTC"
        state = key.why_not(now) or f"is good{until}"
        training = "" if key.train else ", not trained on"
        default = "" if key.rerank is None and key.profile is None else f", {key.rerank or key.profile}"
        limits = "".join(f", {name} {most}" for name, most in key.limits if most is not None)
        typer.echo(
            f"{key.id}  {key.name}: {state}; {', '.join(key.scopes)}; privacy {key.privacy}{training}{default}{limits}"
        )


@app.command()
def revoke(
    key_id: Annotated[str, typer.Argument(help="The id, as `keys list` shows it.")],
    config: ConfigFile = None,
    state_dir: StateDir = None,
) -> None:
    """Accept a key no more, from the next request on."""
    from server.keys.file import KeysUnreadable, UnknownKey, revoke_key

    try:
        key = revoke_key(_path(config, state_dir), key_id)
    except UnknownKey:
        _end(f"there is no key {key_id!r}; touchstone keys list shows them")
    except KeysUnreadable as error:
        _end(str(error))
    typer.echo(f"{key.id} is not accepted any more")


def _path(config: Path | None, state_dir: Path | None) -> Path:
    return _settings(config, state_dir).keys_path


def _settings(config: Path | None, state_dir: Path | None) -> Config:
    from server.config import ConfigError, load

    try:
        # A configuration that listens to a network is refused before there are keys; this is where they come from.
        return load(config, {"state_dir": state_dir, "server": {"host": "127.0.0.1"}})
    except ConfigError as error:
        _end(str(error))


def _span(text: str) -> timedelta:
    found = _SPAN.fullmatch(text)
    if found is None or not int(found[1]):
        raise typer.BadParameter("a number with h, d or w: 12h, 90d, 52w", param_hint="--expires")
    return timedelta(hours=int(found[1]) * _HOURS[found[2]])


def _end(message: str) -> NoReturn:
    typer.echo(f"touchstone keys: {message}", err=True)
    raise typer.Exit(2)
