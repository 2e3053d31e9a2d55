"""Rules in the words of Prometheus' own files: YAML, which needs no library to be written."""

from __future__ import annotations

import json
from collections.abc import Iterator

from deploy.monitoring.rules import Alert, Group, Recording, scaled


def rule_file(groups: tuple[Group, ...], runbooks: str, *, scale: float = 1.0) -> str:
    """One file of rules. `scale`: of every duration in it, for rehearsals."""
    lines = ["# Written by `make docs` (deploy/monitoring); do not edit.", "groups:"]
    for group in groups:
        lines += [f"  - name: {group.name}", "    rules:"]
        for rule in group.rules:
            lines += _recording(rule, scale) if isinstance(rule, Recording) else _alert(rule, runbooks, scale)
    return "\n".join(lines) + "\n"


def _recording(rule: Recording, scale: float) -> Iterator[str]:
    yield f"      - record: {rule.record}"
    yield from _expr(rule.expr, scale)


def _alert(rule: Alert, runbooks: str, scale: float) -> Iterator[str]:
    yield f"      - alert: {rule.name}"
    yield from _expr(rule.expr, scale)
    yield f"        for: {scaled(rule.hold, scale)}"
    yield f"        labels: {{severity: {rule.severity}}}"
    yield "        annotations:"
    yield f"          summary: {json.dumps(rule.summary)}"
    yield f"          runbook_url: {json.dumps(f'{runbooks}#{rule.anchor}')}"


def _expr(expr: str, scale: float) -> Iterator[str]:
    yield "        expr: >-"
    yield f"          {scaled(expr, scale)}"
