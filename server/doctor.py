"""`touchstone doctor`: how this install stands, on one page: host, sandbox, languages, engines, model, log, keys, port,
and what to do.

Looks and changes nothing; loads and measures no model. The exit code is 0 when serving with tests works.
"""

from __future__ import annotations

import asyncio
import json
import os
import platform
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from server import doctor_checks as checks

if TYPE_CHECKING:
    from engine import EngineConfig, ModelStore
    from server.config import Config, SandboxConfig

app = typer.Typer(add_completion=False, help="Say how this install stands.", pretty_exceptions_enable=False)

Data = dict[str, Any]


@app.command()
def doctor(
    config: Annotated[Path | None, typer.Option(help="Configuration file; ./touchstone.toml if it is there.")] = None,
    state_dir: Annotated[Path | None, typer.Option(help="Folder of models, log and caches.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Say how this install stands. Exit code 0 when serving with tests works, 1 when not, 2 for a bad configuration."""
    from server.config import ConfigError, load

    try:
        resolved = load(config, {"state_dir": state_dir})
    except ConfigError as error:
        typer.echo(f"touchstone doctor: {error}", err=True)
        raise typer.Exit(2) from None
    found = examine(resolved)
    if as_json:
        typer.echo(json.dumps(found, indent=2))
    else:
        from server.doctor_page import print_page

        print_page(found)
    raise typer.Exit(0 if found["serves_with_tests"] else 1)


def examine(config: Config) -> Data:
    """Look at everything. The keys are those of the JSON object; a `problem` is None where there is none."""
    from engine import ModelStore, touchstone_version
    from sandbox import why_no_groups
    from server.doctor_store import look_at_log

    found: Data = {
        "touchstone": touchstone_version(),
        "python": {"version": platform.python_version(), "executable": sys.executable},
        "host": _host(),
        "sandbox": asyncio.run(_sandbox(config.sandbox)),
        "cgroup": {"problem": why_no_groups()},
        "languages": _languages(),
        "engine": _engine(config.engine),
        "model": _model(config.engine, ModelStore(config.state_dir)),
        "log": look_at_log(config),
    }
    found |= _rest(config, found)
    parts = ("sandbox", "engine", "model", "upstream", "log", "disk", "gpu", "port")
    found["problems"] = [found[part]["problem"] for part in parts if found[part] and found[part]["problem"]]
    found["serves_with_tests"] = not found["problems"]
    return found


def _rest(config: Config, found: Data) -> Data:
    """The looks of `doctor_checks`; of a model that was not found, nothing."""
    from engine import missing_libraries

    model = found["model"]
    folder = Path(model["folder"]) if model["folder"] else None
    return {
        "choice": None if folder is None else checks.choice(config),
        "engines": checks.engines(config.engine.type, missing_libraries),
        "upstream": checks.upstream(config.engine),
        "dtype": None if folder is None else checks.dtype(config),
        "fim": checks.gaps(folder),
        "disk": checks.disk(config),
        "gpu": checks.gpu(config.engine),
        "keys": checks.keys(config),
        "port": checks.port(config),
        "telemetry": checks.telemetry(),
    }


def _host() -> Data:
    import psutil

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    system = f"{platform.system()} {platform.release()} {platform.machine()}"
    return {"system": system, "cores": cores, "memory_bytes": psutil.virtual_memory().total}


async def _sandbox(config: SandboxConfig) -> Data:
    from sandbox import LocalSandbox, SandboxError, SandboxUnavailable
    from server.doctor_ray import on_ray

    nothing: Data = {"tier": None, "facts": {}, "stronger_refused": [], "how_to_fix": []}
    if not config.enabled:
        return {**nothing, "problem": "switched off by sandbox.enabled"}
    if config.ray is not None:
        return nothing | await on_ray(config, config.ray)
    sandbox = LocalSandbox(concurrency=1, tiers=config.tiers, python=config.python)
    try:
        tier = await sandbox.probe()
    except SandboxError as error:
        fixes = error.how_to_fix if isinstance(error, SandboxUnavailable) else ()
        return {**nothing, "how_to_fix": list(fixes), "problem": str(error)}
    finally:
        await sandbox.aclose()
    told = {"stronger_refused": list(tier.stronger_refused), "how_to_fix": list(tier.how_to_fix)}
    return {"tier": tier.name, "facts": dict(tier.facts), **told, "problem": None}


def _languages() -> Data:
    from sandbox import found_languages

    found: Data = {"python": {"problem": None, "how_to_fix": []}}
    for name, missing in found_languages().items():
        problem, fixes = (None, ()) if missing is None else (missing.reason, missing.how_to_fix)
        found[name] = {"problem": problem, "how_to_fix": list(fixes)}
    return found


def _engine(config: EngineConfig) -> Data:
    from engine import LIBRARIES, library_version, missing_libraries

    libraries = {name: library_version(name) for name in LIBRARIES}
    missing = missing_libraries(config.type)
    problem = f"engine.type is {config.type!r}, which needs {' and '.join(missing)}" if missing else None
    return {"type": config.type, "libraries": libraries, "problem": problem}


def _model(config: EngineConfig, store: ModelStore) -> Data:
    """Where the model comes from; its files are not read through (`touchstone models verify` does)."""
    from engine import AUTO, HOLD_MODELS, EngineError, find_model

    if config.type not in (AUTO, *HOLD_MODELS):
        name = config.upstream.base_url if config.type == "openai" else str(config.script)
        return {"name": name, "folder": None, "conversions": [], "problem": None}
    try:
        found, _ = find_model(config, store)
    except (EngineError, OSError) as error:
        return {"name": config.model, "folder": None, "conversions": [], "problem": str(error)}
    if isinstance(found, Path):
        return {"name": found.name, "folder": str(found), "conversions": [], "problem": None}
    conversions = list(found.manifest.conversions)
    return {"name": found.id, "folder": str(found.folder), "conversions": conversions, "problem": None}
