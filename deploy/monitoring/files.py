"""Which files there are, and what is in them."""

from __future__ import annotations

from pathlib import Path

from deploy.monitoring.alerts import GROUPS
from deploy.monitoring.grafana import dashboard
from deploy.monitoring.prometheus import rule_file
from deploy.monitoring.recorded import RECORDED

FOLDER = Path(__file__).resolve().parents[1]
RUNBOOKS = "docs/runbooks.md"


def files(runbooks: str = RUNBOOKS) -> dict[str, str]:
    """By their path below `deploy/`."""
    return {
        "grafana/dashboards/touchstone.json": dashboard(runbooks),
        "prometheus/rules/alerts.yml": rule_file(GROUPS, runbooks),
        "prometheus/rules/recorded.yml": rule_file((RECORDED,), runbooks),
    }
