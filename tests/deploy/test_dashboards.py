"""The dashboard: current, made of metrics and labels that a server has, in queries that Prometheus can parse."""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deploy.monitoring.alerts import ALERTS
from deploy.monitoring.dashboard import ROWS, SWITCHED, VARIABLES
from deploy.monitoring.files import FOLDER, files
from deploy.monitoring.panels import Panel
from deploy.monitoring.recorded import RECORDED
from deploy.monitoring.rules import Recording
from tests.deploy.promtool import METERS, check, needed, write

PANELS = [panel for row in ROWS for panel in row.panels]
RECORDS = {rule.record: rule.expr for rule in RECORDED.rules if isinstance(rule, Recording)}
RULES = [*RECORDS.values(), *(alert.expr for alert in ALERTS)]
QUERIES = [query.expr for panel in PANELS for query in panel.queries]
SCRAPED = {"job", "instance"}
"""Labels that Prometheus adds."""


def plain(expr: str) -> str:
    """With the variables' values in their places."""
    return re.sub(r"\$(__rate_interval|__interval)", "5m", expr).replace("$", "")


def metrics_in(expr: str) -> Iterator[tuple[str, set[str]]]:
    """Every metric of an expression with the labels that it is chosen by."""
    for name, chosen in re.findall(r"(?<![:\w])(touchstone_\w+)(?:\{([^}]*)\})?", expr):
        yield name, set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", re.sub(r'"[^"]*"|\'[^\']*\'', "", chosen)))


def labels_of(name: str) -> set[str]:
    """A series' labels; of a histogram's buckets `le` too. Raises `KeyError` for what no server has."""
    meter = METERS.get(name) or METERS[re.sub(r"_(bucket|sum|count)$", "", name)]
    assert (meter.kind == "histogram") == (name != meter.full_name), f"{name} is a {meter.kind}"
    return {*meter.labels, *({"le"} if name.endswith("_bucket") else ()), *SCRAPED}


@pytest.mark.parametrize("name", files())
def test_a_file_is_current(name: str) -> None:
    assert (FOLDER / name).read_text() == files()[name], "run: make docs"


@pytest.mark.parametrize("expr", [*QUERIES, *RULES, SWITCHED, *(variable.query for variable in VARIABLES)])
def test_an_expression_names_metrics_and_labels_that_are_there(expr: str) -> None:
    for name, chosen in metrics_in(plain(expr)):
        assert chosen <= labels_of(name), (name, chosen)
    for record in re.findall(r"touchstone:[\w:]+", expr):
        assert record in RECORDS
    known = set().union(*(labels_of(name) for name, _ in metrics_in(plain(expr)))) | {"method"}
    for grouped in re.findall(r"by \(([^)]*)\)", expr):
        if known != {"method"}:
            assert set(grouped.split(", ")) <= known, expr


def test_a_metric_that_is_not_there_would_be_found() -> None:
    with pytest.raises(KeyError):
        labels_of("touchstone_tokens_total")
    assert list(metrics_in('sum(rate(touchstone_x_total{a="b",c=~"d"}[5m])) by (e)')) == [
        ("touchstone_x_total", {"a", "c"})
    ]


def test_every_metric_is_on_the_dashboard() -> None:
    shown = {name for expr in QUERIES for name, _ in metrics_in(expr)}
    bare = {re.sub(r"_(bucket|sum|count)$", "", name) for name in shown}
    assert set(METERS) - bare - shown == {"touchstone_training_round_info"}  # what its round is, model_info says too


@needed
def test_prometheus_parses_every_query(tmp_path: Path) -> None:
    rules = [{"record": f"panel:{number}", "expr": plain(expr)} for number, expr in enumerate([*QUERIES, SWITCHED])]
    check("check", "rules", write(tmp_path / "rules.yml", {"groups": [{"name": "panels", "rules": rules}]}))


def test_a_panel_has_a_text_and_a_runbook_that_is_there() -> None:
    names = {alert.name for alert in ALERTS}
    for panel in PANELS:
        assert panel.text.endswith(".")
        assert panel.runbook in {"", *names}
    assert {panel.runbook for panel in PANELS} >= names - {
        "TouchstoneDown",
        "TouchstoneErrorsSlow",
        "TouchstoneRateLimited",
    }
    assert len({panel.title for panel in PANELS}) == len(PANELS)


def panels_of(page: Any) -> list[Any]:
    return [panel for panel in page["panels"] if panel["type"] != "row"]


def test_grafanas_page_has_every_panel_in_a_place_of_its_own() -> None:
    page = json.loads(files()["grafana/dashboards/touchstone.json"])
    assert [row["title"] for row in page["panels"] if row["type"] == "row"] == [row.title for row in ROWS]
    assert len(panels_of(page)) == len(PANELS)
    assert len({panel["id"] for panel in page["panels"]}) == len(page["panels"])
    taken: set[tuple[int, int]] = set()
    for panel in page["panels"]:
        place = panel["gridPos"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells
    assert {each["name"] for each in page["templating"]["list"]} == {
        "datasource",
        "runbooks",
        *(variable.name for variable in VARIABLES),
    }


def test_what_is_watched_first_stands_first() -> None:
    first = [panel.title for panel in PANELS[:3]]
    assert first == ["ms/token, median", "ms/token, p95", "Memory in use"]


def test_panels_of_a_gpu_are_those_that_look_at_one() -> None:
    def looks(panel: Panel) -> bool:
        return any("gpu" in query.expr for query in panel.queries)

    assert [panel for panel in PANELS if panel.gpu] == [panel for panel in PANELS if looks(panel)]


def test_grafana_is_told_of_the_source_and_of_the_folder() -> None:
    yaml: Any = importlib.import_module("yaml")  # it brings no types
    provisioning = FOLDER / "grafana" / "provisioning"
    [source] = yaml.safe_load((provisioning / "datasources" / "prometheus.yml").read_text())["datasources"]
    [provider] = yaml.safe_load((provisioning / "dashboards" / "touchstone.yml").read_text())["providers"]
    assert (source["type"], provider["type"]) == ("prometheus", "file")
