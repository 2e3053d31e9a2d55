"""Pages of several replicas as one that Prometheus' own parser reads."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from server.merged_metrics import merged


def page(requests: int, *, ready: bool | None = None) -> bytes:
    registry = CollectorRegistry()
    made = Counter("requests", 'Answers, by "route".', ("route",), registry=registry)
    made.labels('a "quoted" {one}').inc(requests)
    Counter("plain", "Without a label.", registry=registry).inc(2)
    if ready is not None:
        Gauge("ready", "There at one of them alone.", registry=registry).set(ready)
    return generate_latest(registry)


def test_every_sample_names_its_replica_and_a_metric_stands_together() -> None:
    text = merged({"r1": page(3), "r2": page(4, ready=True)}).decode()
    found = {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if not sample.name.endswith("_created")
    }
    quoted = ("route", 'a "quoted" {one}')
    assert found == {
        ("requests_total", ("replica", "r1"), quoted): 3,
        ("requests_total", ("replica", "r2"), quoted): 4,
        ("plain_total", ("replica", "r1")): 2,
        ("plain_total", ("replica", "r2")): 2,
        ("ready", ("replica", "r2")): 1,
    }
    assert text.count("# TYPE requests_total ") == 1
    heads = [line.split(" ")[2] for line in text.splitlines() if line.startswith("# TYPE")]
    assert len(heads) == len(set(heads))
