"""A PostgreSQL server for the tests that are marked `postgres`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session")
def cluster() -> Iterator[object]:
    """`tests.feedback.postgres.Cluster`, running. Skips where there is no PostgreSQL or no driver."""
    pytest.importorskip("psycopg", reason="psycopg is not installed (the extra `postgres`)")
    from tests.feedback.postgres import Cluster

    cluster = Cluster()
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.close()
