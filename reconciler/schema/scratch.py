"""A Postgres of its own, with Tracer's schema and some steps, which is gone afterwards."""

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from reconciler.local.postgres import supervisor
from reconciler.schema.migrate import upgrade_schema
from reconciler.schema.steps import Step, sync_steps


@contextmanager
def scratch_database(steps: Mapping[str, Step]) -> Iterator[tuple[Path, str]]:
    """A temporary home with a Postgres that has these steps: its folder and its URL."""
    home = Path(tempfile.mkdtemp(prefix="tracer-scratch-"))
    home.chmod(0o755)  # root's Postgres runs as another user, which must reach it
    try:
        url = supervisor.acquire(home)
        upgrade_schema(url)
        sync_steps(url, steps)
        yield home, url
    finally:
        supervisor.stop(home)
        shutil.rmtree(home, ignore_errors=True)
