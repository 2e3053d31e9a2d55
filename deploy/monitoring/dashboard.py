"""The dashboard: five rows, what may be chosen in them, and what is drawn over all of them."""

from __future__ import annotations

from dataclasses import dataclass

from deploy.monitoring.latency import LATENCY
from deploy.monitoring.loop import LOOP
from deploy.monitoring.overview import OVERVIEW
from deploy.monitoring.panels import Row
from deploy.monitoring.reranking import RERANKING
from deploy.monitoring.throughput import THROUGHPUT

ROWS: tuple[Row, ...] = (OVERVIEW, LATENCY, THROUGHPUT, RERANKING, LOOP)


@dataclass(frozen=True, slots=True)
class Variable:
    """What may be chosen: one or several values of a label, or all."""

    name: str
    label: str
    query: str
    """Grafana's own function for finding the values."""


VARIABLES = (
    Variable("model", "Model", "label_values(touchstone_model_info, model)"),
    Variable("round", "Round", 'label_values(touchstone_model_info{model=~"$model"}, round)'),
    Variable("engine", "Engine", 'label_values(touchstone_model_info{model=~"$model"}, engine)'),
    Variable("route", "Route", "label_values(touchstone_request_duration_seconds_count, route)"),
)
SWITCHED = 'sum by (job) (changes(touchstone_model_switches_total{result="done"}[$__interval])) > 0'
"""When another model took over: drawn as lines over all panels."""
