"""The dashboard in Grafana's own JSON, by Grafana's own types (the SDK, of the extra `dev`)."""

from __future__ import annotations

import json
from itertools import count
from typing import Any

from grafana_foundation_sdk.builders import common, heatmap, stat, timeseries
from grafana_foundation_sdk.builders import dashboard as make
from grafana_foundation_sdk.builders.prometheus import Dataquery
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common as of
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models import heatmap as heat
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from deploy.monitoring.dashboard import ROWS, SWITCHED, VARIABLES, Variable
from deploy.monitoring.panels import Panel, Query

UID = "touchstone"
_SOURCE = model.DataSourceRef(type_val="prometheus", uid="${datasource}")
_ALL = model.VariableOption(text="All", value="$__all")


def dashboard(runbooks: str) -> str:
    """The file that Grafana reads. `runbooks`: where the page of runbooks is to be found."""
    board = (
        make.Dashboard("Touchstone")
        .uid(UID)
        .description("Time a token and memory, latency, throughput, reranking, and the loop from feedback to training.")
        .tags(["touchstone", "llm"])
        .refresh("30s")
        .time("now-3h", "now")
        .timezone("browser")
        .tooltip(model.DashboardCursorSync.CROSSHAIR)
        .editable()
        .with_variable(make.DatasourceVariable("datasource").label("Data source").type("prometheus"))
        .annotation(_switches())
    )
    for variable in VARIABLES:
        board.with_variable(_variable(variable))
    where = model.VariableOption(text=runbooks, value=runbooks)
    board.with_variable(make.TextBoxVariable("runbooks").label("Runbooks").default_value(runbooks).current(where))
    numbers = count(1)
    for row in ROWS:
        board.with_row(make.Row(row.title).id(next(numbers)))
        for panel in row.panels:
            board.with_panel(_panel(panel).id(next(numbers)))
    return json.dumps(board.build(), cls=JSONEncoder, indent=1) + "\n"


def _switches() -> make.AnnotationQuery:
    lines = make.AnnotationQuery().name("Model switched").datasource(_SOURCE).expr(SWITCHED)
    return lines.enable(True).icon_color("purple")


def _variable(variable: Variable) -> make.QueryVariable:
    return (
        make.QueryVariable(variable.name)
        .label(variable.label)
        .query({"query": variable.query, "refId": variable.name})
        .datasource(_SOURCE)
        .refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(model.VariableSort.NATURAL_ASC)
        .multi(True)
        .include_all(True)
        .all_value(".*")
        .current(_ALL)
    )


def _panel(panel: Panel) -> Any:
    """A panel's builder; the SDK's builders have no type in common that says what they all can."""
    made: Any = {"stat": _stat, "names": _names, "heatmap": _heatmap, "timeseries": _timeseries}[panel.kind](panel)
    made.title(panel.title).description(panel.text).datasource(_SOURCE).unit(panel.unit).span(panel.width)
    made.height(4 if panel.width == 4 else 8)
    for query, ref in zip(panel.queries, "ABCDEFGHIJ", strict=False):
        made.with_target(_query(panel, query, ref))
    if panel.steps:
        steps = [model.Threshold(value=value, color=colour) for value, colour in panel.steps]
        made.thresholds(make.ThresholdsConfig().mode(model.ThresholdsMode.ABSOLUTE).steps(steps))
    if panel.runbook:
        link = make.DashboardLink(f"Runbook: {panel.runbook}").type(model.DashboardLinkType.LINK)
        made.links([link.url(f"${{runbooks}}#{panel.runbook.lower()}").target_blank(True)])
    return made


def _query(panel: Panel, query: Query, ref: str) -> Dataquery:
    made = Dataquery().expr(query.expr).ref_id(ref).datasource(_SOURCE).legend_format(query.legend or "__auto")
    if panel.kind == "heatmap":
        return made.range().format(PromQueryFormat.HEATMAP)
    if panel.kind == "names":
        return made.instant()
    return made.range().exemplar(query.exemplars)


def _stat(panel: Panel) -> stat.Panel:
    colour = of.BigValueColorMode.VALUE if panel.steps else of.BigValueColorMode.NONE
    return (
        stat.Panel()
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .graph_mode(of.BigValueGraphMode.AREA)
        .color_mode(colour)
    )


def _names(panel: Panel) -> stat.Panel:
    return _stat(panel).text_mode(of.BigValueTextMode.NAME).graph_mode(of.BigValueGraphMode.NONE)


def _heatmap(panel: Panel) -> heatmap.Panel:
    return (
        heatmap.Panel()
        .y_axis(heatmap.YAxisConfig().unit(panel.unit))
        .color(heatmap.HeatmapColorOptions().mode(heat.HeatmapColorMode.SCHEME).scheme("Oranges").steps(32))
    )


def _timeseries(panel: Panel) -> timeseries.Panel:
    legend = common.VizLegendOptions().display_mode(of.LegendDisplayMode.LIST).placement(of.LegendPlacement.BOTTOM)
    made = timeseries.Panel().legend(legend.show_legend(True)).fill_opacity(25 if panel.stacked else 5)
    made.tooltip(common.VizTooltipOptions().mode(of.TooltipDisplayMode.MULTI).sort(of.SortOrder.DESCENDING))
    made.show_points(of.VisibilityMode.NEVER)
    if not panel.signed:
        made.min(0)
    if panel.stacked:
        made.stacking(common.StackingConfig().mode(of.StackingMode.NORMAL))
    return made
