"""What to watch, as code: a Grafana dashboard, recording rules and alerts for Prometheus.

`panels.py` and `rules.py` say what a panel and a rule are; `overview.py`, `latency.py`, `throughput.py`,
`reranking.py` and `loop.py` hold a row of the dashboard each, `recorded.py` and `alerts.py` the rules. `grafana.py` and
`prometheus.py` write them down in the words of those two programs. `python -m deploy.monitoring` writes the files under
`deploy/grafana` and `deploy/prometheus`; tests hold them to what it would write, and to the metrics of a server.
"""
