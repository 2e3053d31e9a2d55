"""The server's configuration: defaults < `touchstone.toml` < environment < flags. Unknown keys are errors.

Sections of other commands in the same file are left to them. Refuses to listen beyond loopback while there are no
keys, unless told to.
"""

from __future__ import annotations

import hashlib
import json
import re
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Literal

from platformdirs import user_data_dir
from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, InitSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from engine import SETTINGS_PREFIX, EngineConfig, read_settings
from reranker import LEARNED, METHODS
from sandbox import TIERS, Limits
from server.keys.file import KeysUnreadable, read_keys
from server.keys.limits import KeyLimits
from server.loopback import is_loopback
from server.profiles import Profile, check_profiles

_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[a-z0-9.\[\]:_-]+")
_HOST = re.compile(r"[A-Za-z0-9._-]+|\[[0-9a-fA-F:.]+\]")


class ConfigError(Exception):
    """The configuration cannot be used; the message names the key."""


class Section(BaseModel):
    """A section of the file."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ServerConfig(Section):
    """`[server]`: how requests are taken and what they get when they do not say."""

    host: str = "127.0.0.1"
    """Address to listen on."""
    port: Annotated[int, Field(ge=0, le=65535)] = 8000
    """0 takes any free port."""
    allow_open: bool = False
    """Listen beyond loopback although there are no keys."""
    keys_file: Path | None = None
    """Who may ask (`touchstone keys`); None: `keys.json` in the state folder."""
    cors_origins: tuple[str, ...] = ()
    """Origins whose web pages may ask, as browsers name them: `https://tools.example.org`. None of them by default."""
    hosts: tuple[str, ...] = ()
    """Further names (`Host`, without a port) under which a server without keys may be asked; on loopback it is asked as
    `localhost`, `127.0.0.1`, `[::1]` and `host` alone."""
    replicas: Annotated[int, Field(ge=1)] = 1
    """The most servers that share this log at once. More than one need PostgreSQL, and through it cancel each other's
    requests, count a key's use together and know each other's answers by `Idempotency-Key` (`docs/deploy.md`)."""
    drain_s: Annotated[float, Field(ge=0)] = 30.0
    """Seconds that running requests may take to finish after SIGTERM."""
    default_method: str = "auto"
    """Reranking of plain completions and chat when the request says nothing."""
    default_method_fim: str = "off"
    """The same with `suffix`."""
    default_method_stream: str = "off"
    """The same on streams."""
    default_candidates: Annotated[int, Field(ge=1)] = 8
    """Candidates where the request names no number."""
    max_candidates: Annotated[int, Field(ge=1)] = 64
    """The most a request may ask for, a prompt."""
    candidate_temperature: Annotated[float, Field(ge=0, le=2)] = 0.8
    """Candidates are sampled at this temperature unless `rerank.temperature` says another."""
    candidate_top_p: Annotated[float, Field(gt=0, le=1)] = 0.95
    """The same for `rerank.top_p`."""
    default_max_tokens: Annotated[int, Field(ge=1)] = 256
    """Tokens a candidate where the request names no number."""
    default_max_tokens_fim: Annotated[int, Field(ge=1)] = 128
    """The same with `suffix`."""
    max_prompts: Annotated[int, Field(ge=1)] = 256
    """Prompts in one request."""
    body_limit_bytes: Annotated[int, Field(ge=1024)] = 8 * 1024 * 1024
    """A larger request body is refused (413)."""
    receive_timeout_s: Annotated[float, Field(gt=0)] = 30.0
    """Seconds in which a client must send the head of a request (else 408), and then its body."""
    idempotency_s: Annotated[float, Field(ge=0)] = 600.0
    """Seconds for which an answer is kept for whoever sends the same `Idempotency-Key` again."""
    heartbeat_s: Annotated[float, Field(gt=0)] = 1.0
    """Seconds between two comments on a stream whose candidates are still running."""
    reader_stall_s: Annotated[float, Field(gt=0)] = 30.0
    """Seconds after which a stream's client that reads nothing is dropped."""
    retry_after_s: Annotated[float, Field(gt=0)] = 2.0
    """Seconds after which a client is told to come again while the model loads."""
    champion_poll_s: Annotated[float, Field(ge=0)] = 2.0
    """Seconds between two looks for another champion or challenger, where the champion is served; 0: never."""
    switch: Literal["auto", "beside", "after"] = "auto"
    """`beside`: the new champion is loaded while the old one serves. `after`: the old one is freed first, and requests
    are told to come again meanwhile. `auto`: beside where both fit in memory (`docs/serving-models.md`)."""
    challenger_check_s: Annotated[float, Field(gt=0)] = 60.0
    """Seconds between two looks whether a challenger's contest is decided."""
    challenger_alpha: Annotated[float, Field(gt=0, lt=1)] = 0.05
    """The chance at most that a challenger is promoted which is no better, and the same that one is refused as worse
    which is not."""
    challenger_pairs: Annotated[int, Field(ge=1)] = 2000
    """Pairs of answers after which a challenger that has not proved itself is refused as no better."""
    challenger_slots: Annotated[int, Field(ge=1)] = 1
    """Requests that a shadow answers at once; more are left out, and counted."""

    @field_validator("cors_origins")
    @classmethod
    def _origins(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        for origin in origins:
            if not _ORIGIN.fullmatch(origin):
                raise ValueError(f"{origin!r} is no origin: scheme://host or scheme://host:port, without a path")
        return origins

    @field_validator("hosts")
    @classmethod
    def _hosts(cls, hosts: tuple[str, ...]) -> tuple[str, ...]:
        for host in hosts:
            if not _HOST.fullmatch(host):
                raise ValueError(f"{host!r} is no name of a host: without scheme, port and path; [...] around IPv6")
        return hosts

    @field_validator("default_method", "default_method_fim", "default_method_stream")
    @classmethod
    def _known(cls, method: str) -> str:
        known = ("off", "auto", *METHODS, *LEARNED)
        if method not in known:
            raise ValueError(f"unknown method {method!r}; known: {', '.join(known)}")
        return method

    @model_validator(mode="after")
    def _within_caps(self) -> ServerConfig:
        if self.default_candidates > self.max_candidates:
            raise ValueError("default_candidates is more than max_candidates")
        return self


class SandboxConfig(Section):
    """`[sandbox]`: the default limits of one candidate's run, and how many run at once."""

    enabled: bool = True
    """Whether candidates are run at all."""
    tiers: tuple[str, ...] = TIERS
    """The acceptable ones of A and B (`docs/sandbox.md`); the stronger is taken where the host grants it."""
    python: str | None = None
    """The candidates' interpreter, with the packages they may use: never the server's own environment. None: the
    server's interpreter with its standard library alone."""
    slots: Annotated[int, Field(ge=1)] | None = None
    """Candidates that run at once; None: as many as there are cores. On Ray at each worker, which asks for as many
    CPUs; None: 1."""
    ray: str | None = None
    """A Ray cluster on whose nodes candidates run (`docs/ray.md`): `host:port` of its head, or `auto`, the one that
    this host belongs to. None: candidates run on this host."""
    ray_min_workers: Annotated[int, Field(ge=1)] = 1
    """Workers that are kept on Ray while there is nothing to run."""
    ray_max_workers: Annotated[int, Field(ge=1)] = 8
    """The most workers on Ray, however many candidates wait."""
    ray_idle_s: Annotated[float, Field(gt=0)] = 60.0
    """Seconds after which a worker on Ray that had nothing to do is given back."""
    ray_start_s: Annotated[float, Field(gt=0)] = 120.0
    """Seconds that candidates wait while there is no worker on Ray at all; then they are not tested."""
    max_waiting: Annotated[int, Field(ge=0)] = 10_000
    """Candidates that may wait for a slot; more are not tested, and their request says `degraded`."""
    cpu_s: Annotated[float, Field(gt=0)] = 10.0
    """CPU seconds for one candidate's whole run."""
    wall_s: Annotated[float, Field(gt=0)] = 20.0
    """Seconds for one candidate's whole run."""
    test_wall_s: Annotated[float, Field(gt=0)] = 4.0
    """Seconds for each test."""
    memory_mb: Annotated[int, Field(ge=16)] = 512
    """MiB for one candidate."""
    max_wall_s: Annotated[float, Field(gt=0)] = 60.0
    """The most `rerank.tests.timeout_ms` may ask for, in seconds."""
    max_memory_mb: Annotated[int, Field(ge=16)] = 2048
    """The most `rerank.tests.memory_mb` may ask for, in MiB."""

    @field_validator("tiers")
    @classmethod
    def _known(cls, tiers: tuple[str, ...]) -> tuple[str, ...]:
        unknown = [tier for tier in tiers if tier not in TIERS]
        if unknown or not tiers:
            raise ValueError(f"must name some of {', '.join(TIERS)}{f', not {unknown[0]!r}' if unknown else ''}")
        return tuple(tier for tier in TIERS if tier in tiers)  # the strongest first, whatever the order given

    @field_validator("ray")
    @classmethod
    def _installed(cls, address: str | None) -> str | None:
        if address is not None and find_spec("ray") is None:
            raise ValueError("Ray is not installed: pip install 'touchstone[ray]'")
        return address

    @model_validator(mode="after")
    def _some_workers(self) -> SandboxConfig:
        if self.ray_min_workers > self.ray_max_workers:
            raise ValueError("ray_min_workers is more than ray_max_workers")
        return self

    @property
    def limits(self) -> Limits:
        """The limits of a request that names none."""
        memory = self.memory_mb * 1024 * 1024
        return Limits(cpu_s=self.cpu_s, wall_s=self.wall_s, test_wall_s=self.test_wall_s, memory_bytes=memory)


class RerankerConfig(Section):
    """`[reranker]`: learned scorers."""

    verifier: str = "auto"
    """A verifier to choose by, its id or folder (`docs/verifier.md`): methods `verifier` and `features`. `auto`: the
    bundled one where the bundled model is served. Empty: none."""
    discriminator: str = ""
    """A verifier trained with `--no-execution`, by id or folder: method `discriminator`, and what it holds right is run
    first where a request has a deadline."""


class FeedbackConfig(Section):
    """`[feedback]`: where the log is kept."""

    database_url: SecretStr | None = None
    """None: a SQLite file in the state folder. A PostgreSQL URL: that database, with an outbox in the state folder for
    the time in which it is away (`docs/store.md`)."""
    redact: bool = True
    """Whether secrets of known shape (tokens, private keys, passwords) are replaced before anything is logged."""
    keep_days: Annotated[int, Field(ge=1, le=36_500)] | None = None
    """Exchanges older than so many days are deleted, every hour, with their candidates and signals; None: never."""


class LogConfig(Section):
    """`[log]`: what the process writes to standard error."""

    format: Literal["human", "json"] = "human"
    """`json`: one object a line, with the request's id."""
    access: bool = False
    """A line for every request: method, route, status, duration, address; nothing of what is in it."""


class Config(BaseSettings):
    """The whole of it, resolved."""

    model_config = SettingsConfigDict(
        extra="forbid",
        frozen=True,
        env_prefix=SETTINGS_PREFIX,
        env_nested_delimiter="__",
    )

    state_dir: Path = Field(default_factory=lambda: Path(user_data_dir("touchstone", appauthor=False)))
    server: ServerConfig = ServerConfig()
    limits: KeyLimits = KeyLimits()
    engine: EngineConfig = Field(default_factory=EngineConfig)
    sandbox: SandboxConfig = SandboxConfig()
    reranker: RerankerConfig = RerankerConfig()
    profiles: dict[str, Profile] = {}
    feedback: FeedbackConfig = FeedbackConfig()
    log: LogConfig = LogConfig()

    @model_validator(mode="after")
    def _usable_profiles(self) -> Config:
        try:
            check_profiles(self.profiles, self.server.max_candidates)
        except ValueError as error:
            raise ValueError(f"profiles: {error}") from None
        return self

    @model_validator(mode="after")
    def _closed_without_keys(self) -> Config:
        try:
            keys = read_keys(self.keys_path)
        except KeysUnreadable as error:
            raise ValueError(f"server.keys_file: {error}") from error
        if not keys and not self.server.allow_open and not is_loopback(self.server.host):
            raise ValueError(
                f"server.host: there are no keys yet, so {self.server.host!r} would be open to everyone; "
                "make one (touchstone keys create), use a loopback address or set server.allow_open = true"
            )
        return self

    @model_validator(mode="after")
    def _shared_by_a_server(self) -> Config:
        if self.server.replicas > 1 and self.is_database_local:
            raise ValueError(
                f"server.replicas: {self.server.replicas} servers cannot share a SQLite file; "
                "name a PostgreSQL database in feedback.database_url"
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

    @property
    def is_database_local(self) -> bool:
        """Whether the log is a file, which is there as long as this machine is."""
        return self.database_url.startswith("sqlite")

    @property
    def outbox_path(self) -> Path:
        """Where the log's records wait while its database server is away; the file need not be there."""
        return self.state_dir / "outbox.db"

    @property
    def keys_path(self) -> Path:
        """The file of keys; it need not be there."""
        return self.server.keys_file or self.state_dir / "keys.json"

    def printable(self) -> str:
        """The resolved configuration as JSON, secrets masked."""
        return self.model_dump_json()

    def changed(self) -> str:
        """What of `printable()` differs from the defaults."""
        return self.model_dump_json(exclude_defaults=True)

    def digest(self) -> str:
        """Hash of `printable()`, stored with every exchange."""
        canonical = json.dumps(json.loads(self.printable()), sort_keys=True)
        return "b2:" + hashlib.blake2b(canonical.encode(), digest_size=16).hexdigest()


def load(path: Path | None = None, flags: dict[str, Any] | None = None) -> Config:
    """Resolve the configuration.

    `path` None reads `./touchstone.toml` if it is there. `flags` is a nested dict in which None means: not given.
    Raises `ConfigError`, naming the key.
    """
    try:
        file = {name: value for name, value in read_settings(path).items() if name in Config.model_fields}
        return Config(_file=file, **_given(flags or {}))  # type: ignore[call-arg]
    except ValueError as error:  # pydantic's ValidationError and SettingsError both are
        raise ConfigError(_explain(error)) from error


def _given(flags: dict[str, Any]) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for key, value in flags.items():
        value = _given(value) if isinstance(value, dict) else value
        if value not in (None, {}):
            kept[key] = value
    return kept


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
