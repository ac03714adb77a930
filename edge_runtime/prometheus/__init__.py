"""The figures of a run for Prometheus, read from what the run keeps anyway when somebody asks.

`metrics.RunMetrics` makes the exposition, `server.MetricsServer` serves it; `grafana.json`,
`rules.yml` and `prometheus.yml` beside this file show one robot or many. See ``docs/metrics.md``.
"""
