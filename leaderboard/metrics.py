"""Metrics: what Prometheus reads of the web process and of the database."""

from __future__ import annotations

from collections.abc import Iterator
from typing import final

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from leaderboard.database import Database
from leaderboard.tables import Job, Submission

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


@final
class Metrics:
    """Counts what one web process answers; asks the database for the rest when it is read."""

    def __init__(self, database: Database) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "zapeval_requests",
            "Requests by method, route and status.",
            ("method", "route", "status"),
            registry=self._registry,
        )
        self._seconds = Histogram(
            "zapeval_request_seconds", "Time to answer.", ("route",), registry=self._registry
        )
        self._received = Counter(
            "zapeval_received_bytes", "Bytes of request bodies.", registry=self._registry
        )
        self._registry.register(_Kept(database))

    def observe(
        self, *, method: str, route: str, status: int, seconds: float, received: int
    ) -> None:
        """Counts an answered request. ``route`` is a template: addresses are without number."""
        known = method if method in _METHODS else "other"
        self._requests.labels(known, route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)
        self._received.inc(received)

    def text(self) -> bytes:
        """Returns everything in Prometheus' text format."""
        return generate_latest(self._registry)


@final
class _Kept(Collector):
    """Reads what the database holds: jobs and submissions by state, its size."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def describe(self) -> list[Metric]:
        """Returns nothing, so that registering asks nothing of the database."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yields the gauges."""
        with self._database.read() as session:
            jobs = GaugeMetricFamily(
                "zapeval_jobs", "Jobs by kind and state.", labels=("kind", "state")
            )
            rows = session.execute(
                select(Job.kind, Job.state, func.count()).group_by(Job.kind, Job.state)
            )
            for kind, state, number in rows:
                jobs.add_metric((kind, state), number)
            yield jobs
            submissions = GaugeMetricFamily(
                "zapeval_submissions", "Submissions by state.", labels=("state",)
            )
            for state, number in session.execute(
                select(Submission.state, func.count()).group_by(Submission.state)
            ):
                submissions.add_metric((state,), number)
            yield submissions
            size = GaugeMetricFamily("zapeval_database_bytes", "Size of the database.")
            size.add_metric((), size_of(session, is_sqlite=self._database.is_sqlite))
            yield size


def size_of(session: Session, *, is_sqlite: bool) -> int:
    """Returns the size of the database in bytes."""
    if is_sqlite:
        pages = session.scalar(
            text("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size")
        )
        return int(pages or 0)
    return int(session.scalar(text("SELECT pg_database_size(current_database())")) or 0)
