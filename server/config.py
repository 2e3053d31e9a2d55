"""The server's configuration: defaults < `touchstone.toml` < environment < flags. Unknown keys are errors.

This is the only reader of the file, of `TOUCHSTONE_<SECTION>__<KEY>` and of the flags. Sections of other commands
in the same file are left to them. Refuses to listen beyond loopback while there are no keys, unless told to.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
import os
import tomllib
from pathlib import Path
from typing import Annotated, Any

from platformdirs import user_data_dir
from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, InitSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from engine import EngineConfig
from sandbox import Limits

DEFAULT_PATH = Path("touchstone.toml")
_PREFIX = "TOUCHSTONE_"
_FOREIGN_SECTIONS = ("trainer", "bench", "deploy")


class ConfigError(Exception):
    """The configuration cannot be used; the message names the key."""


class Section(BaseModel):
    """A section of the file."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ServerConfig(Section):
    """`[server]`: how requests are taken and what they get when they do not say."""

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8000
    """0 takes any free port."""
    allow_open: bool = False
    """Listen beyond loopback although there are no keys."""
    drain_s: Annotated[float, Field(ge=0)] = 30.0
    """After SIGTERM, how long running requests may take to finish."""
    default_method: str = "auto"
    """Reranking of plain completions and chat when the request says nothing."""
    default_method_fim: str = "off"
    default_method_stream: str = "off"
    default_candidates: Annotated[int, Field(ge=1)] = 8
    max_candidates: Annotated[int, Field(ge=1)] = 64
    candidate_temperature: Annotated[float, Field(ge=0, le=2)] = 0.8
    candidate_top_p: Annotated[float, Field(gt=0, le=1)] = 0.95
    default_max_tokens: Annotated[int, Field(ge=1)] = 256
    default_max_tokens_fim: Annotated[int, Field(ge=1)] = 128
    max_prompts: Annotated[int, Field(ge=1)] = 256
    """Prompts in one request."""
    body_limit_bytes: Annotated[int, Field(ge=1024)] = 8 * 1024 * 1024
    heartbeat_s: Annotated[float, Field(gt=0)] = 1.0
    """Between two comments on a stream whose candidates are still running."""
    retry_after_s: Annotated[float, Field(gt=0)] = 2.0
    """What a client is told while the model loads."""


class SandboxConfig(Section):
    """`[sandbox]`: the default limits of one candidate's run, and how many run at once."""

    enabled: bool = True
    slots: Annotated[int, Field(ge=1)] | None = None
    """None: as many as the sandbox thinks fit for this host."""
    cpu_s: Annotated[float, Field(gt=0)] = 10.0
    wall_s: Annotated[float, Field(gt=0)] = 20.0
    test_wall_s: Annotated[float, Field(gt=0)] = 4.0
    memory_mb: Annotated[int, Field(ge=16)] = 512
    max_wall_s: Annotated[float, Field(gt=0)] = 60.0
    """The most a request may ask for."""
    max_memory_mb: Annotated[int, Field(ge=16)] = 2048

    @property
    def limits(self) -> Limits:
        """The limits of a request that names none."""
        memory = self.memory_mb * 1024 * 1024
        return Limits(cpu_s=self.cpu_s, wall_s=self.wall_s, test_wall_s=self.test_wall_s, memory_bytes=memory)


class FeedbackConfig(Section):
    """`[feedback]`: where the log is kept."""

    database_url: SecretStr | None = None
    """None: a SQLite file in the state folder."""


class Config(BaseSettings):
    """The whole of it, resolved."""

    model_config = SettingsConfigDict(
        extra="forbid",
        frozen=True,
        env_prefix=_PREFIX,
        env_nested_delimiter="__",
    )

    state_dir: Path = Field(default_factory=lambda: Path(user_data_dir("touchstone", appauthor=False)))
    server: ServerConfig = ServerConfig()
    engine: EngineConfig = Field(default_factory=EngineConfig)
    sandbox: SandboxConfig = SandboxConfig()
    feedback: FeedbackConfig = FeedbackConfig()

    @model_validator(mode="after")
    def _closed_without_keys(self) -> Config:
        if not self.server.allow_open and not _is_loopback(self.server.host):
            raise ValueError(
                f"server.host: there are no keys yet, so {self.server.host!r} would be open to everyone; "
                "use a loopback address or set server.allow_open = true"
            )
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Flags, then environment, then the file that `load` read (`_file`, not a setting)."""
        given = dict(init_settings()) if isinstance(init_settings, InitSettingsSource) else {}
        file = given.pop("_file", {})
        return (
            InitSettingsSource(settings_cls, init_kwargs=given),
            env_settings,
            InitSettingsSource(settings_cls, init_kwargs=file),
        )

    @property
    def database_url(self) -> str:
        """Where the log is kept, secrets in the clear."""
        url = self.feedback.database_url
        return url.get_secret_value() if url is not None else f"sqlite:///{self.state_dir / 'touchstone.db'}"

    def printable(self) -> str:
        """The resolved configuration as JSON, secrets masked."""
        return self.model_dump_json()

    def digest(self) -> str:
        """Hash of `printable()`, stored with every exchange."""
        canonical = json.dumps(json.loads(self.printable()), sort_keys=True)
        return "b2:" + hashlib.blake2b(canonical.encode(), digest_size=16).hexdigest()


def load(path: Path | None = None, flags: dict[str, Any] | None = None) -> Config:
    """Resolve the configuration.

    `path` None reads `./touchstone.toml` if it is there. `flags` is a nested dict in which None means: not given.
    Raises `ConfigError`, naming the key.
    """
    _check_environment()
    try:
        return Config(_file=_read(path), **_given(flags or {}))  # type: ignore[call-arg]
    except ValueError as error:  # pydantic's ValidationError and SettingsError both are
        raise ConfigError(_explain(error)) from error


def _read(path: Path | None) -> dict[str, Any]:
    if path is None and not DEFAULT_PATH.exists():
        return {}
    path = path or DEFAULT_PATH
    try:
        body = tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: {error}") from error
    return {key: value for key, value in body.items() if key not in _FOREIGN_SECTIONS}


def _given(flags: dict[str, Any]) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for key, value in flags.items():
        value = _given(value) if isinstance(value, dict) else value
        if value not in (None, {}):
            kept[key] = value
    return kept


def _check_environment() -> None:
    """A misspelt section in the environment is as much an error as in the file."""
    sections = {*Config.model_fields, *_FOREIGN_SECTIONS}
    for name in os.environ:
        section, nested, _ = name.removeprefix(_PREFIX).partition("__")
        if name.startswith(_PREFIX) and nested and section.lower() not in sections:
            raise ConfigError(f"{name}: there is no section {section.lower()!r}; known: {', '.join(sorted(sections))}")


def _explain(error: ValueError) -> str:
    errors = getattr(error, "errors", None)
    if errors is None:
        return str(error)
    lines = []
    for item in errors(include_url=False):
        key = ".".join(str(part) for part in item["loc"])
        message = "unknown key" if item["type"] == "extra_forbidden" else item["msg"].removeprefix("Value error, ")
        lines.append(f"{key}: {message}" if key else message)
    return "\n".join(lines)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
