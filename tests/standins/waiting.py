"""A step that waits until a file is there, in the place of the bundled normalize. The company whose
key is `poison` then kills its container."""

import asyncio
import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from workers.kit import Company, step
from workers.steps.normalize import Normalized


def gate(url: str) -> Path:
    """The file that lets the companies of this database go on."""
    digest = hashlib.sha256(url.encode()).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"tracer-gate-{digest}"


@contextmanager
def opened(url: str) -> Iterator[None]:
    """They go on for the length of the block."""
    gate(url).touch()
    try:
        yield
    finally:
        gate(url).unlink()


@step(concurrency=250, chunk_size=50)
async def normalize(company: Company) -> Normalized:
    """Wait, as for a slow web API."""
    go_on = gate(os.environ["DATABASE_URL"])
    while not go_on.exists():
        await asyncio.sleep(0.2)
    if company.key == "poison":
        os._exit(1)
    return Normalized(short_name=company.name)
