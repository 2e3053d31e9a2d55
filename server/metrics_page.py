"""`docs/metrics.md`: every metric by the name it is scraped by, from the meters themselves."""

from __future__ import annotations

from pathlib import Path

from server.metrics import Metrics

PAGE = Path(__file__).resolve().parents[1] / "docs" / "metrics.md"
_HEAD = """# Metrics

`GET /metrics` in Prometheus' text format, with keys under the scope `metrics`; `?name[]=...`, repeated, gives those
samples alone. Asked for `application/openmetrics-text` it is OpenMetrics', in which the durations of requests and of
their first tokens point to a trace (`docs/telemetry.md`). Times are seconds, sizes bytes, labels from small fixed sets.
With the vllm engine vLLM's own series, `vllm:...`, come after these (not by name). Written by `make docs`; do not edit.

| metric | type | labels | what |
|---|---|---|---|
"""


def page() -> str:
    """The whole page."""
    rows = (
        f"| `{meter.full_name}` | {meter.kind} | {', '.join(f'`{label}`' for label in meter.labels)} | {meter.text} |"
        for meter in Metrics().meters
    )
    return _HEAD + "\n".join(rows)
