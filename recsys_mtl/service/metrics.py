"""What /metrics shows, in Prometheus' text format."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
_ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


class Metrics:
    """Counts of one server.

    Attributes:
        content_type: of `text`.
    """

    content_type = CONTENT_TYPE_LATEST

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        name, registry = "recsys_mtl", self._registry
        self._requests = Counter(
            f"{name}_requests", "Answers of /predict, by HTTP status", ["status"], registry=registry
        )
        self._rows = Counter(f"{name}_rows", "Rows that were predicted", registry=registry)
        self._seconds = Histogram(
            f"{name}_request_seconds", "Time from a request's start to its answer",
            buckets=_SECONDS, registry=registry,
        )  # fmt: skip
        self._batch_rows = Histogram(
            f"{name}_batch_rows", "Rows that were scored together", buckets=_ROWS, registry=registry
        )
        self._batch_requests = Histogram(
            f"{name}_batch_requests", "Requests that were scored together",
            buckets=_ROWS, registry=registry,
        )  # fmt: skip
        self._reloads = Counter(
            f"{name}_reloads", "Loadings of another model", ["result"], registry=registry
        )
        self._model = Gauge(
            f"{name}_model", "The model that answers: 1", ["model", "version"], registry=registry
        )

    def request(self, status: int, seconds: float, rows: int) -> None:
        """Count an answer."""
        self._requests.labels(status).inc()
        self._seconds.observe(seconds)
        if status == 200:
            self._rows.inc(rows)

    def batch(self, requests: int, rows: int) -> None:
        """Count what is scored together."""
        self._batch_requests.observe(requests)
        self._batch_rows.observe(rows)

    def model(self, name: str, version: str) -> None:
        """Another model answers from now on."""
        self._model.clear()
        self._model.labels(name, version).set(1)

    def reload(self, *, failed: bool) -> None:
        """Count an attempt to load another model."""
        self._reloads.labels("failed" if failed else "loaded").inc()

    def text(self) -> bytes:
        """All of them."""
        text: bytes = generate_latest(self._registry)
        return text
