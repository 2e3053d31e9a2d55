"""Whether to trace: the standard `OTEL_*` variables say so, and say where to.

They are the environment's, not this server's own settings, and clusters set them for every process. So what of them
cannot be had is named in the log, and the server starts all the same.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from server.telemetry.traces import Traces

_log = logging.getLogger(__name__)
_PROTOCOL = "http/protobuf"
EXTRA = "pip install 'touchstone[otel]'"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be exported, and what was asked for that is not."""

    traces: bool
    metrics: bool
    refused: tuple[str, ...] = ()


def wanted(environment: Mapping[str, str]) -> Wanted:
    """Read the variables: an endpoint, or `otlp` as an exporter, switches a signal on."""
    if environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return Wanted(traces=False, metrics=False)
    refused: list[str] = []
    on = {name: _signal(environment, name, refused) for name in ("TRACES", "METRICS")}
    return Wanted(traces=on["TRACES"], metrics=on["METRICS"], refused=tuple(refused))


def _signal(environment: Mapping[str, str], name: str, refused: list[str]) -> bool:
    exporter = environment.get(f"OTEL_{name}_EXPORTER", "").strip()
    endpoints = "OTEL_EXPORTER_OTLP_ENDPOINT", f"OTEL_EXPORTER_OTLP_{name}_ENDPOINT"
    if exporter == "none" or not (exporter or any(environment.get(endpoint) for endpoint in endpoints)):
        return False
    if exporter not in ("", "otlp"):
        refused.append(f"OTEL_{name}_EXPORTER={exporter}: can be otlp or none")
        return False
    specific, general = f"OTEL_EXPORTER_OTLP_{name}_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"
    variable = specific if environment.get(specific) else general
    protocol = environment.get(variable) or _PROTOCOL
    if protocol != _PROTOCOL:
        refused.append(f"{variable}={protocol}: can be {_PROTOCOL}")
        return False
    return True


def start(environment: Mapping[str, str] = os.environ) -> Traces | None:
    """Begin to export, or None where nothing is asked for or the extra is not there. Imports libraries: blocks."""
    asked = wanted(environment)
    for reason in asked.refused:
        _log.warning("not exported: %s", reason)
    if not (asked.traces or asked.metrics):
        return None
    try:
        made: Traces = import_module("server.telemetry.traces").open_traces(environment, asked)
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("opentelemetry"):
            raise
        _log.warning("OTEL_* variables ask for OpenTelemetry, whose libraries are not installed: %s", EXTRA)
        return None
    return made
