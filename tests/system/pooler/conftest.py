"""What these tests share: a PgBouncer, and every database through it."""

from collections.abc import Iterator

import pytest

from tests.system.pooler.pgbouncer import PgBouncer, running


@pytest.fixture(scope="module")
def bouncer(server: str) -> Iterator[PgBouncer]:
    with running(server) as found:
        yield found


@pytest.fixture
def url(url: str, bouncer: PgBouncer) -> str:
    """The test's database, through PgBouncer: so for every store and command of these tests."""
    return bouncer.url(url, sslmode="disable")
