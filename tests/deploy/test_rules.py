"""Rules and alerts, as Prometheus itself judges them: each fires on what it is for, and not on what is near it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from deploy.monitoring.alerts import ALERTS, GROUPS
from deploy.monitoring.files import FOLDER, RUNBOOKS
from deploy.monitoring.prometheus import rule_file
from deploy.monitoring.recorded import RECORDED
from deploy.monitoring.rules import scaled
from tests.deploy.cases import CASES, Case, S
from tests.deploy.promtool import METERS, check, needed, write
from tests.deploy.test_dashboards import labels_of, metrics_in

ROOT = FOLDER.parent
RULES = FOLDER / "prometheus" / "rules"


@needed
def test_the_files_are_what_prometheus_reads() -> None:
    check("check", "config", FOLDER / "prometheus" / "prometheus.yml")


@pytest.mark.prometheus
def test_every_alert_fires_on_what_it_is_for_and_on_nothing_else(tmp_path: Path) -> None:
    tests = [as_test(case) for case in CASES]
    page = {"rule_files": [str(path) for path in sorted(RULES.glob("*.yml"))], "tests": tests}
    check("test", "rules", write(tmp_path / "cases.yml", page))


def as_test(case: Case) -> dict[str, Any]:
    """One test as `promtool` has them."""
    series = [
        {"series": re.sub(r"\{(.*)\}", lambda m: f"{{{','.join(filter(None, (S, m[1])))}}}", name), "values": values}
        for name, values in case.series.items()
    ]
    fire = f'count(ALERTS{{alertname="{case.alert}",alertstate="firing"}}) or vector(0)'
    found = {"expr": fire, "eval_time": case.at, "exp_samples": [{"labels": "{}", "value": case.fires}]}
    return {"interval": "1m", "input_series": series, "promql_expr_test": [found]}


def test_every_alert_has_a_case_that_fires_and_one_that_does_not() -> None:
    for fires in (0, 1):
        assert {case.alert for case in CASES if case.fires == fires} == {alert.name for alert in ALERTS}


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.alert}-{case.fires}")
def test_the_series_of_a_case_are_those_of_a_server(case: Case) -> None:
    for series in case.series:
        for name, labels in metrics_in(series):
            assert labels == labels_of(name) - {"job", "instance"}


def test_every_alert_has_a_runbook_and_every_runbook_an_alert() -> None:
    text = (ROOT / RUNBOOKS).read_text()
    sections = dict(re.findall(r"^## (Touchstone\w+)\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL))
    assert list(sections) == [alert.name for alert in ALERTS]
    for name, section in sections.items():
        for part in ("**It means**", "**Look at**", "**Do**"):
            assert part in section, (name, part)
        for metric, _ in metrics_in(section):
            assert labels_of(metric) if re.search(r"_(bucket|sum|count)$", metric) else metric in METERS


def test_a_rehearsals_rules_are_the_same_in_less_time() -> None:
    assert scaled("5m", 1 / 60) == "5s"
    assert scaled("0s", 1 / 60) == "0s"
    assert scaled("rate(a[5m]) > avg_over_time(b[1d] offset 1h)", 1 / 60) == (
        "rate(a[5s]) > avg_over_time(b[1440s] offset 60s)"
    )
    assert scaled("rate(a[1m])", 1 / 600) == "rate(a[1s])"
    with pytest.raises(ValueError, match="not understood"):
        scaled("rate(a[1h30m])", 1 / 60)
    names = re.compile(r"(?:record|alert): (\S+)")
    assert names.findall(rule_file((RECORDED, *GROUPS), RUNBOOKS, scale=1 / 60)) == names.findall(
        rule_file((RECORDED, *GROUPS), RUNBOOKS)
    )


@needed
def test_a_rehearsals_rules_are_what_prometheus_reads(tmp_path: Path) -> None:
    path = tmp_path / "rules.yml"
    path.write_text(rule_file((RECORDED, *GROUPS), RUNBOOKS, scale=1 / 60))
    check("check", "rules", path)
